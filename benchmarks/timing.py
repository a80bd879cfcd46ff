"""Timing of several ways to do the same, in turn, so that what else the machine does hits all of them."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Rate(NamedTuple):
    """Items a second: of processor time, of all processes that were started, and of wall time. Medians over rounds."""

    per_core: float
    wall: float


def _processor_time() -> float:
    """Of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def interleaved(cases: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, Rate]:
    """Run all cases `rounds` times in turn, after a first round that does not count.

    Args:
        cases: By name, a function that does the work and returns how many items it did.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            processor, wall = _processor_time(), time.perf_counter()
            items = case()
            spent = _processor_time() - processor, time.perf_counter() - wall
            if number:
                seconds[name].append((spent[0] / items, spent[1] / items))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seconds.items()
    }
    return {name: Rate(1 / processor, 1 / wall) for name, (processor, wall) in medians.items()}
