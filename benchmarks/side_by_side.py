"""Sides of a comparison that take turns, each in a process of its own, so that its memory is its own.

This module imports no torch: what a process holds when it starts another one counts into the other's peak.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from sizes import SIZES

SETTLED = 1.0  # seconds in which the machine shows how busy it is


class Side(NamedTuple):
    """work: '<module>.<function>' here that makes the Work, from a Size and `settings`. half: autocast to bfloat16.
    size: a name in SIZES, None for the run's. hollow: see Size.hollow.
    """

    work: str
    settings: Mapping[str, Any] = {}
    half: bool = False
    size: str | None = None
    hollow: bool = False


class Turn(NamedTuple):
    """A step of a side: seconds by the clock and of processors, FLOPs of its matrix products, MiB at its process's
    peak, and MiB by which the first step raised the peak.
    """

    wall: float
    processor: float
    flops: int
    peak: float
    grown: float


class Measured(NamedTuple):
    """rounds: the turn of each side. missing: packages that sides lack. others: share of the machine that other
    processes took meanwhile, 0 to 1.
    """

    rounds: list[dict[str, Turn]]
    missing: dict[str, str]
    others: float


class Missing(NamedTuple):
    package: str


class Failed(NamedTuple):
    traceback: str


def measure(
    sides: Mapping[str, Side],
    rounds: int,
    size: str,
    threads: int,
    done: Callable[[], None] = lambda: None,
) -> Measured:
    """Start all sides, then run one step of each in turn, `rounds` times.

    Args:
        size: A name in SIZES, for sides that name none.
        done: Is called after the start and after each round.
    Raises: RuntimeError with a side's own traceback if it fails.
    """
    running = {name: _Running(name, side, size, threads) for name, side in sides.items()}
    try:
        missing = {name: side.missing for name, side in running.items() if side.wait_until_ready()}
        running = {name: side for name, side in running.items() if name not in missing}
        done()
        started, busy, turns = time.perf_counter(), busy_seconds(), []
        for _ in range(rounds):
            turns.append({name: side.step() for name, side in running.items()})
            done()
        own = sum(turn.processor for turn in turns for turn in turn.values())
        available = (time.perf_counter() - started) * os.cpu_count()
        return Measured(turns, missing, max(0.0, busy_seconds() - busy - own) / available)
    finally:
        for side in running.values():
            side.end()


def busy_seconds() -> float:
    """Seconds that the machine's processors have worked since it started, for guests of its host too."""
    import psutil

    times = psutil.cpu_times()
    return sum(times[:3]) + sum(getattr(times, name, 0.0) for name in ("irq", "softirq", "steal"))


def load_of_machine() -> float:
    """Share of the processors' time, 0 to 1, that is taken now, before anything was started."""
    before = busy_seconds()
    time.sleep(SETTLED)
    return min(1.0, (busy_seconds() - before) / SETTLED / os.cpu_count())


class _Running:
    """A side's process, as the one that asks sees it."""

    def __init__(self, name: str, side: Side, size: str, threads: int) -> None:
        self.name, self.missing = name, ""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, side, side.size or size, threads), daemon=True)
        self._process.start()
        theirs.close()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"{self.name}: its process ended with code {self._process.exitcode}") from None
        if isinstance(answer, Failed):
            raise RuntimeError(f"{self.name} failed:\n{answer.traceback}")
        return answer

    def wait_until_ready(self) -> bool:
        """Whether a package is missing, once that is known."""
        answer = self._receive()
        if isinstance(answer, Missing):
            self.missing = answer.package
        return isinstance(answer, Missing)

    def step(self) -> Turn:
        self._pipe.send("step")
        return self._receive()

    def end(self) -> None:
        self._pipe.close()  # the process reads the end of the pipe, and ends
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection, side: Side, size: str, threads: int) -> None:
    """A side's process: build the work, take a first step that counts FLOPs, then a step whenever asked."""
    _be_quiet()
    try:
        step, flops, grown = _build(side, size, threads)
        pipe.send("ready")
        while True:
            pipe.recv()
            wall, processor = time.perf_counter(), time.process_time()
            step()
            spent = time.perf_counter() - wall, time.process_time() - processor
            pipe.send(Turn(*spent, flops, _peak(), grown))
    except EOFError:  # the other end was closed: no more steps
        return
    except ModuleNotFoundError as error:
        pipe.send(Missing(error.name))
    except Exception:
        pipe.send(Failed(traceback.format_exc()))


def _build(side: Side, size: str, threads: int) -> tuple[Callable[[], Any], int, float]:
    import torch
    from step import count_flops, step_of

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = SIZES[size].hollow() if side.hollow else SIZES[size]
    module, function = side.work.split(".")
    step = step_of(getattr(importlib.import_module(module), function)(sizes, **side.settings), side.half)
    built = _peak()
    return step, count_flops(step), _peak() - built


def _peak() -> float:
    """MiB: the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _be_quiet() -> None:
    """Peers' greetings would break the progress bar."""
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    with contextlib.suppress(OSError):
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
