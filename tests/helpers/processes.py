"""Run a function in several gloo processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def run_in_processes(function: Callable[..., Any], folder: Path, *args: Any, count: int = 2) -> list[Any]:
    """Call `function(rank, *args)` in `count` processes that know of each other; their results, in rank order.

    The function must be importable; its result anything that torch.save takes.
    """
    multiprocessing.spawn(_worker, args=(count, str(folder), function, args), nprocs=count)
    return [torch.load(folder / f"result{rank}.pt", weights_only=False) for rank in range(count)]


def _worker(rank: int, count: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": str(count)}
    torch.set_num_threads(1)
    # They meet through a file: a free port might be taken before both have found it.
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    try:
        torch.save(function(rank, *args), f"{folder}/result{rank}.pt")
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    # The result is on disk. Taking the interpreter down beside gloo's threads has ended in an abort, once in many runs.
    os._exit(0)
