"""Rows about what breaks while a run goes on: T15, T16, T17."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .rows_resume import Result, failed
from .runs import Lab, ledger
from .tiny import STEPS, write_config

ROOT = Path(__file__).parents[2]
TIMEOUT = 8  # seconds, of data workers and steps
MANY = 600  # steps that are never reached


def t15(lab: Lab, count: int) -> Iterator[Result]:
    """A loss or gradient that is not finite, on one rank."""
    for stage, loss in ((2, "text/mlm_loss_words"), (3, "image_text/itc_loss")):
        for number in range(count):
            what, value = (loss, "gradient")[number % 2], ("nan", "inf")[number // 2 % 2]
            action = ("skip", "stop")[number % 3 == 2]
            world, step = 2, lab.random.randint(2, STEPS - 1)
            bad_rank, work_dir = lab.random.randrange(2), lab.new("t15")
            cfg = lab.config(stage, world)
            cfg["default_hooks"]["finite_guard"]["action"] = action
            cfg["custom_hooks"][-1]["digests"] = True
            poison = dict(type="Poison", step=step, rank=bad_rank, what=what, value=value)
            cfg["custom_hooks"].append(poison)
            codes = lab.finish(cfg, work_dir, world)
            problem = _skipped(work_dir, codes, action, step, bad_rank, what)
            yield f"stage {stage}, {what} = {value}, {action}", f"{problem}, see {work_dir}" if problem else ""


def _skipped(work_dir: Path, codes: list, action: str, step: int, bad_rank: int, what: str) -> str:
    if codes != ([0, 0] if action == "skip" else [1, 1]):
        return f"exit codes {codes}"
    for rank in range(2):
        digests = {line["step"]: line["weights"] for line in ledger(work_dir, rank)}
        if digests[step] != digests[step - 1]:
            return f"rank {rank}: weights changed in step {step}"
        if action == "skip" and (len(digests) != STEPS or digests[step + 1] == digests[step]):
            return f"rank {rank}: did not go on"
    found = [json.loads(path.read_text()) for path in (work_dir / "non_finite").iterdir()]
    own = next((entry for entry in found if entry["rank"] == bad_rank), None)
    if own is None or own["step"] != step or not own["samples"]:
        return f"written down: {found}"
    if what == "gradient":
        return "" if own["gradients_not_finite"] else f"written down: {own}"
    named = what in own["losses_not_finite"] and own["modalities"] == [what.split("/")[0]] and len(found) == 1
    return "" if named else f"written down: {found}"


def t16(lab: Lab, count: int) -> Iterator[Result]:
    """A data worker is killed, or hangs."""
    for number in range(count):
        how, stage, world = ("killed", "hung")[number % 2], 2 + number // 2 % 2, 1 + number // 4 % 2
        work_dir = lab.new("t16")
        cfg = lab.config(stage, world, workers=2, steps=MANY)
        cfg["train_dataloader"]["timeout"] = TIMEOUT
        text = cfg["train_dataloader"]["loaders"]["text"]["dataset"]
        sample = lab.random.randint(4, 30)
        text = {**text, "pipeline": [*text["pipeline"], dict(type="Misbehave", sample=sample, how=how)]}
        cfg["train_dataloader"]["loaders"]["text"] = dict(dataset=text)
        running = lab.start(cfg, work_dir, world)
        codes, seconds = running.wait(), time.monotonic() - running.started
        named = re.search(r"data worker \d of 'text' \(process \d+\)", running.text())
        time.sleep(0.2)
        orphans = lab.orphans()
        good = 0 not in codes and None not in codes and named and not orphans
        said = f"{how}, stage {stage}, {world} processes: ended after {seconds:.0f} s"
        yield said, "" if good else f"codes {codes}, orphans {orphans}, see {work_dir}"


def t17(lab: Lab, count: int) -> Iterator[Result]:
    """One of two ranks is killed or stopped, under torchrun: it ends the job, starts it again, and that resumes."""
    for number in range(count):
        how, stage = (signal.SIGKILL, signal.SIGSTOP)[number % 2], 2 + number // 2 % 2
        work_dir = lab.new("t17")
        cfg = lab.config(stage, 2)
        cfg["custom_hooks"][-1]["pause"] = 0.05
        cfg["default_hooks"]["stall"]["timeout"] = TIMEOUT
        config = write_config(work_dir.with_suffix(".py"), cfg)
        work_dir.mkdir()
        with (work_dir / "log.txt").open("w") as log:
            job = subprocess.Popen(_torchrun(config, work_dir), stdout=log, stderr=log, env=_environment(), cwd=ROOT)
            step, rank = lab.random.randint(4, 14), lab.random.randrange(2)
            while len(ledger(work_dir)) < step and job.poll() is None:
                time.sleep(0.01)
            victim = 0 if job.poll() is not None else _process_of(rank, job.pid)
            if victim:
                os.kill(victim, how)
            try:
                code = job.wait(180)
            except subprocess.TimeoutExpired:
                job.kill()
                code = None
        text = (work_dir / "log.txt").read_text(errors="replace")
        time.sleep(0.5)
        named = how is signal.SIGKILL or f"(process {victim} on " in text
        problem = failed([code]) or ("" if named else "the rank is not named")
        problem = problem or lab.reference(stage, 2).difference(work_dir) or ("orphans" if lab.orphans() else "")
        yield f"stage {stage}, {how.name}", f"{problem}, see {work_dir}" if problem else ""


def _torchrun(config: Path, work_dir: Path) -> list[str]:
    """As tools/dist_train.sh does it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(Path(__file__).with_name("launched.py"))
    return [*command, "--max-restarts", "1", script, str(config), "--work-dir", str(work_dir), "--launcher", "pytorch"]


def _environment() -> dict[str, str]:
    settings = {"PET_SHUTDOWN_TIMEOUT": "3", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return {**os.environ, **settings, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _process_of(rank: int, launcher: int) -> int:
    for pid in map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()):
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return pid
    raise RuntimeError(f"the launcher {launcher} has no process of rank {rank}")
