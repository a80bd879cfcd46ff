"""The main job, small: three stages of pre-training, evaluation and a report, as a list of ordinary commands.

    python tools/demo/run.py            # goes on where an earlier run stopped
    python tools/demo/run.py --fresh    # from the beginning

Each command is printed before it runs and can be typed by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
KIT, WORK = "data/kit", "work_dirs/demo"
PYTHON = "python"


def sentiment(stage: str, checkpoint: str, *options: str) -> str:
    """Fine-tune and test one encoder on fresh or rotten."""
    hook = f"custom_hooks.1.checkpoint={checkpoint}"
    return (
        f"{PYTHON} tools/train.py configs/demo/sentiment.py --test --work-dir {WORK}/sentiment_{stage} "
        f"--cfg-options {' '.join([hook, *options])}"
    )


PREPARE = [f"{PYTHON} tools/demo/fetch_kit.py --root {KIT}", f"{PYTHON} tools/demo/prepare_kit.py --root {KIT}"]
STAGES = {
    "stage1": "tools/dist_train.sh configs/demo/stage1.py 1",
    "stage2": "tools/dist_train.sh configs/demo/stage2.py 1",
    "stage2_text_only": "tools/dist_train.sh configs/demo/stage2_text_only.py 1",
    "stage3": "tools/dist_train.sh configs/demo/stage3.py 1",
}
EVALUATE = [
    sentiment("random", "None"),
    sentiment("stage1", f"{WORK}/stage1", "'custom_hooks.1.new=[head.*,backbone.text_embed.*]'"),
    sentiment("stage2", f"{WORK}/stage2"),
    sentiment("stage3", f"{WORK}/stage3"),
    f"{PYTHON} tools/demo/evaluate.py --kit {KIT} --work-dir {WORK}",
    f"{PYTHON} tools/demo/examples.py --kit {KIT} --work-dir {WORK}",
]
REPORT = f"{PYTHON} tools/demo/report.py --work-dir {WORK}"


def run(command: str) -> float:
    """Run one command from the project's root with this Python, and return its seconds.

    Raises: SystemExit if it fails.
    """
    # Threads that wait without spinning leave the cores to the loader's workers: several times faster on two cores.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "PATH": path, "PYTHON": sys.executable}
    started = time.perf_counter()
    code = subprocess.run(shlex.split(command), cwd=ROOT, env=environment).returncode
    if code:
        sys.exit(f"\nfailed with exit code {code}: {command}\nrun the demo again to go on from here")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run finished")
    args = parser.parse_args()
    work = ROOT / WORK
    work.mkdir(parents=True, exist_ok=True)
    done_file = work / "done.json"
    done = {} if args.fresh or not done_file.exists() else json.loads(done_file.read_text())

    commands = [*PREPARE, *STAGES.values(), *EVALUATE]
    for number, command in enumerate(commands, 1):
        if command in done:
            print(f"[{number}/{len(commands) + 1}] done before in {done[command]:.0f} s: {command}", flush=True)
            continue
        print(f"\n[{number}/{len(commands) + 1}] $ {command}", flush=True)
        done = {earlier: done[earlier] for earlier in commands[: number - 1]}  # what comes after is to be done again
        done[command] = run(command)
        done_file.write_text(json.dumps(done, indent=1))

    stages = {stage: done[command] for stage, command in STAGES.items()}
    (work / "timing.json").write_text(json.dumps({"seconds": sum(done.values()), "stages": stages}))
    (work / "commands.json").write_text(json.dumps([*commands, REPORT]))
    print(f"\n[{len(commands) + 1}/{len(commands) + 1}] $ {REPORT}", flush=True)
    run(REPORT)
    print(f"\n{sum(done.values()) / 60:.1f} minutes in all. Open {work / 'report.html'}")


if __name__ == "__main__":
    main()
