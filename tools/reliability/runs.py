"""Start real processes, end them, and compare what they did with what an undisturbed run does.

Importing torch and MMEngine takes seconds, so that they are imported once, and processes are forked.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from momo.engine.checkpoint import find_checkpoint, read_checkpoint
from momo.engine.checkpoint.state import split_state

from . import child
from .tiny import STEPS, run_config, write_config, write_data

FORK = multiprocessing.get_context("fork")
PR_SET_CHILD_SUBREAPER = 36
LIMIT = 120.0  # seconds after which a process counts as hanging


class Running:
    """The processes of one run."""

    def __init__(self, processes: list[BaseProcess], log: Path, started: float) -> None:
        self.processes, self.log, self.started = processes, log, started

    def wait(self, limit: float = LIMIT) -> list[int | None]:
        """Exit codes by rank; None for one that did not end in time and was killed. Below 0: the signal."""
        end = time.monotonic() + limit
        codes: list[int | None] = []
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            codes.append(process.exitcode)
        self.signal(signal.SIGKILL)
        for process in self.processes:
            process.join()
        return codes

    def signal(self, number: signal.Signals, ranks: list[int] | None = None) -> None:
        for rank in range(len(self.processes)) if ranks is None else ranks:
            if self.processes[rank].exitcode is None:
                os.kill(self.processes[rank].pid, number)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Lab:
    """A folder of data and runs, and a random generator that decides when things happen."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.data = write_data(folder / "data")
        self._count = 0
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans become this process's children, and are seen
        _quicken()

    def new(self, name: str) -> Path:
        """A fresh work_dir."""
        self._count += 1
        return self.folder / f"{self._count:04d}_{name.replace(' ', '_')}"

    def config(self, stage: int, world: int, **changes: Any) -> dict[str, Any]:
        return run_config(self.data, stage, world, **changes)

    def start(
        self,
        cfg: dict[str, Any],
        work_dir: Path,
        world: int,
        *arguments: str,
        fault: Callable[[], None] | None = None,
        faulty_rank: int = 0,
    ) -> Running:
        """Train in `world` processes; the fault, if there is one, is for one of them."""
        path = write_config(work_dir.with_suffix(".py"), cfg)  # MMEngine writes a sorted one into the work_dir
        work_dir.mkdir(exist_ok=True)
        log, port, started = work_dir / "log.txt", _free_port(), time.monotonic()
        processes = []
        for rank in range(world):
            environment = {} if world == 1 else _environment(rank, world, port)
            given = [str(path), "--work-dir", str(work_dir), *arguments]
            given += ["--launcher", "pytorch"] if world > 1 else []
            run = functools.partial(child.main, given, fault if rank == faulty_rank else None)
            processes.append(FORK.Process(target=_in_child, args=(run, log, environment)))
        for process in processes:
            process.start()
        return Running(processes, log, started)

    def finish(self, cfg: dict[str, Any], work_dir: Path, world: int, *arguments: str, **settings: Any) -> list:
        """`start` and wait."""
        return self.start(cfg, work_dir, world, *arguments, **settings).wait()

    @functools.cache  # noqa: B019 - there is one lab
    def reference(self, stage: int, world: int) -> Reference:
        """What an undisturbed run does."""
        work_dir = self.new(f"reference_stage{stage}_{world}")
        started = time.monotonic()
        codes = self.finish(self.config(stage, world), work_dir, world)
        if codes != [0] * world:
            raise RuntimeError(f"the undisturbed run failed with {codes}, see {work_dir / 'log.txt'}")
        return Reference(work_dir, world, time.monotonic() - started)

    def orphans(self) -> list[int]:
        """Processes that have lost the one that started them."""
        here, own = [], {process.pid for process in multiprocessing.active_children()}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in own:
                try:
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(parent) == os.getpid() and state == "Z":
                    os.waitpid(int(entry.name), os.WNOHANG)
                elif int(parent) == os.getpid():
                    here.append(int(entry.name))
        return here


class Reference:
    """The ledger and the final state of an undisturbed run, and how long it took."""

    def __init__(self, work_dir: Path, world: int, seconds: float) -> None:
        self.work_dir, self.world, self.seconds = work_dir, world, seconds
        self.ledgers = [ledger(work_dir, rank) for rank in range(world)]
        self.digest = final_digest(work_dir)

    def difference(self, work_dir: Path, steps: int = STEPS) -> str:
        """'' if a run did the same, however often it was interrupted, or else what it did not."""
        for rank, expected in enumerate(self.ledgers):
            lines = ledger(work_dir, rank)
            by_step = {line["step"]: line for line in expected}
            for line in lines:  # steps that were done twice, too
                if line != by_step.get(line["step"]):
                    return f"rank {rank}, step {line['step']}: other losses or samples"
            if {line["step"] for line in lines} != set(range(1, steps + 1)):
                return f"rank {rank}: steps are missing"
        return "" if final_digest(work_dir) == self.digest else "another final state"


def ledger(work_dir: Path, rank: int = 0) -> list[dict]:
    """The steps that a rank has done, as it did them; a line that is being written does not count."""
    path = work_dir / f"ledger_{rank}.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def final_digest(work_dir: Path) -> str:
    """sha256 of weights, optimizer, schedulers and average in the newest checkpoint."""
    path = find_checkpoint(work_dir)
    if path is None:
        return "no checkpoint"
    state = read_checkpoint(path)
    parts = {key: state[key] for key in ("state_dict", "optimizer", "param_schedulers", "ema_state_dict")}
    tree, tensors = split_state(parts)
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _in_child(run: Callable[[], None], log: Path, environment: dict[str, str]) -> None:
    os.setpgid(0, 0)
    os.environ |= environment
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        run()
    except SystemExit:
        raise
    except BaseException:  # as an interpreter ends: the traceback, and exit code 1
        traceback.print_exc()
        sys.stderr.flush()
        raise SystemExit(1) from None


def _environment(rank: int, world: int, port: int) -> dict[str, str]:
    settings = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    return {"GLOO_SOCKET_IFNAME": "lo", **{name: str(value) for name, value in settings.items()}}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _quicken() -> None:
    """Leave out what MMEngine does for readers of logs: it takes longer than the runs."""
    import mmengine.runner.runner
    from yapf.yapflib import yapf_api

    mmengine.runner.runner.collect_env = dict
    yapf_api.FormatCode = lambda text, **settings: (text, True)
