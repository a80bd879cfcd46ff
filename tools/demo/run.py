"""The main job, small: three stages of pre-training, evaluation and a report, as a list of ordinary commands.

    python tools/demo/run.py            # goes on where an earlier run stopped
    python tools/demo/run.py --fresh    # from the beginning

Each command is printed before it runs and can be typed by hand. `A & B` run at the same time, as in a shell.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
KIT, WORK = "data/kit", "work_dirs/demo"
PREPARE = [f"python tools/demo/fetch_kit.py --root {KIT}", f"python tools/demo/prepare_kit.py --root {KIT}"]
REPORT = f"python tools/demo/report.py --work-dir {WORK}"
STAGES = {"stage1": 1, "stage2": 1, "stage2_text_only": 1, "stage3": 2}  # processes


def with_options(command: str, *options: str) -> str:
    """The command with what it changes of its config, if anything."""
    return f"{command} --cfg-options {' '.join(options)}" if options else command


def stage_command(stage: str, *options: str) -> str:
    """Pre-train one stage."""
    return with_options(f"tools/dist_train.sh configs/demo/{stage}.py {STAGES[stage]}", *options)


def fine_tune_command(config: str, encoder: str, work_dir: str, *options: str) -> str:
    """Fine-tune one of the demo's encoders, or a random one, and write what its test gives to figures.json."""
    command = f"python tools/train.py configs/{config}.py --test --work-dir {work_dir} --out {work_dir}/figures.json"
    checkpoint = "None" if encoder == "random" else f"{WORK}/{encoder}"
    if encoder == "stage1":  # it has not met words yet
        options = (*options, "'custom_hooks.1.new=[head.*,backbone.text_embed.*]'")
    return with_options(command, f"custom_hooks.1.checkpoint={checkpoint}", *options)


def main_commands(seed: int) -> list[str]:
    """Everything between the data and the report."""
    options = [f"randomness.seed={seed}"] if seed else []
    sentiment = {
        encoder: fine_tune_command("demo/sentiment", encoder, f"{WORK}/sentiment_{encoder}", *options)
        for encoder in ("random", "stage1", "stage2", "stage3")
    }
    stage = {name: stage_command(name, *options) for name in STAGES}
    # Steps this small do not fill two cores: two runs with a core each are done sooner than one after the other.
    return [
        stage["stage1"],
        f"{stage['stage2']} & {stage['stage2_text_only']}",
        stage["stage3"],
        f"{sentiment['random']} & {sentiment['stage1']}",
        f"{sentiment['stage2']} & {sentiment['stage3']}",
        f"python tools/demo/evaluate.py --kit {KIT} --work-dir {WORK}",
        f"python tools/demo/examples.py --kit {KIT} --work-dir {WORK}",
    ]


def run(command: str) -> float:
    """Run one command, or several at the same time, from the project's root with this Python; return the seconds.

    Of several, the first has the terminal; what the others print is shown if they fail.
    Raises: SystemExit if one fails.
    """
    parts = command.split(" & ")
    # Threads that wait without spinning leave the cores to the loader's workers: several times faster on two cores.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "PATH": path, "PYTHON": sys.executable}
    if len(parts) > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // len(parts)))
    environment["CUDA_VISIBLE_DEVICES"] = (
        ""  # so small a model is no sooner done on a GPU, and one would not do for two
    )
    started = time.perf_counter()
    outputs = [None, *(tempfile.TemporaryFile() for _ in parts[1:])]
    processes = [
        subprocess.Popen(shlex.split(part), cwd=ROOT, env=environment, stdout=output, stderr=output)
        for part, output in zip(parts, outputs, strict=True)
    ]
    try:
        for part, process, output in zip(parts, processes, outputs, strict=True):
            if process.wait() == 0:
                continue
            if output:
                output.seek(0)
                print(output.read().decode(errors="replace"))
            sys.exit(f"\nfailed with exit code {process.returncode}: {part}\nrun the same again to go on from here")
    finally:
        for process in processes:  # none outlives a failure or Ctrl-C
            process.terminate()
            process.wait()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run finished")
    parser.add_argument("--seed", type=int, default=0, help="another draw of order, masks and weights")
    args = parser.parse_args()
    work = ROOT / WORK
    work.mkdir(parents=True, exist_ok=True)
    done_file = work / "done.json"
    done = {} if args.fresh or not done_file.exists() else json.loads(done_file.read_text())

    commands = main_commands(args.seed)
    listed = [*PREPARE, *commands, REPORT]
    seconds = 0.0
    for number, command in enumerate(listed, 1):
        if command in done and command in commands:
            print(f"[{number}/{len(listed)}] done before in {done[command]:.0f} s: {command}", flush=True)
            continue
        if command == REPORT:
            stages = {s: next(done[c] for c in commands if f"/{s}.py " in c) for s in STAGES}
            write_facts(work, listed, seconds + sum(done.values()), stages)
        print(f"\n[{number}/{len(listed)}] $ {command}", flush=True)
        took = run(command)
        if command in commands:
            earlier = commands[: commands.index(command)]
            done = {other: done[other] for other in earlier} | {command: took}  # what comes after is to be done again
            done_file.write_text(json.dumps(done, indent=1))
        else:
            seconds += took
    print(f"\n{(seconds + sum(done.values())) / 60:.1f} minutes in all. Open {work / 'report.html'}")


def write_facts(work: Path, commands: list[str], seconds: float, stages: dict[str, float]) -> None:
    """What the report says about the run itself."""
    (work / "timing.json").write_text(json.dumps({"seconds": seconds, "stages": stages}))
    (work / "commands.json").write_text(json.dumps(commands))


if __name__ == "__main__":
    main()
