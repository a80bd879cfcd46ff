"""Data workers that end with their process, and are named when they fail."""

from __future__ import annotations

import ctypes
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

PR_SET_PDEATHSIG = 1
ENDING = 1.0  # seconds for a process whose pipe is broken to be gone
TIMEOUT = 300.0  # seconds that a batch may take; below StallHook's, which would name the process only


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_worker(worker_id: int) -> None:
    """What a data worker does first: it outlives signals that are meant for the run, but not the run itself."""
    end_with_parent()
    os.setpgid(0, 0)  # launchers and terminals signal whole groups
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def explain(error: Exception, iterators: Mapping[str, Any]) -> Exception:
    """The error that names the modality and the worker, if a data worker was its cause; else the error itself.

    Args:
        error: A RuntimeError of torch's loader; an OSError or EOFError if a worker ended while it handed a batch over.
        iterators: Of torch's loaders, by modality.
    """
    workers = [
        (modality, number, worker)
        for modality, iterator in iterators.items()
        for number, worker in enumerate(getattr(iterator, "_workers", []))
    ]
    if isinstance(error, OSError | EOFError):  # what the worker held is gone a moment before its process is
        multiprocessing.connection.wait([worker.sentinel for *_, worker in workers], timeout=ENDING)
    for modality, number, worker in workers:
        if not worker.is_alive():
            how = f"ended with exit code {worker.exitcode}"
            return RuntimeError(f"data worker {number} of {modality!r} (process {worker.pid}) {how}: {error}")
    if "DataLoader timed out" in str(error):
        late = [_late_worker(modality, iterator) for modality, iterator in iterators.items()]
        return RuntimeError(f"{'; '.join(filter(None, late))}: {error}")
    return error


def _late_worker(modality: str, iterator: Any) -> str:
    """Who has the batch that comes next, '' if it is there."""
    task = getattr(iterator, "_task_info", {}).get(getattr(iterator, "_rcvd_idx", None), ())
    if len(task) != 1:  # (worker,) while it is awaited, (worker, batch) when it is there
        return ""
    worker = iterator._workers[task[0]]
    return f"data worker {task[0]} of {modality!r} (process {worker.pid}) has not delivered its batch"
