"""Runs a preparation step on all cores of this machine, or on a Ray cluster, and goes on where an earlier run stopped.

A step is a function of a shard. It writes its output under a temporary name, which becomes the final name when the
output is whole. Beside an output lies its stamp: size and time of the inputs, and a hash of the settings. A shard whose
stamp still holds is not done again. A shard that fails is reported by name, and the others go on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from momo.datasets.storage import fingerprint

CONSOLE = Console()


class Shard(NamedTuple):
    """A part of a step's work.

    name: for people. inputs: the files it reads, paths or URLs. output: the file or folder it makes. settings: all else
    that its result depends on, as JSON has it.
    """

    name: str
    inputs: tuple[str, ...]
    output: Path
    settings: dict[str, Any] = {}


class Outcome(NamedTuple):
    """What became of a shard: what its step counted, or why it failed."""

    shard: Shard
    counts: dict[str, Any] | None
    error: str = ""
    done_before: bool = False


Step = Callable[[Shard, Path], dict[str, Any]]  # writes the output to the path that it is given; returns its counts


def run_shards(
    step: Step,
    shards: Sequence[Shard],
    title: str,
    *,
    engine: str = "local",
    workers: int | None = None,
    again: Callable[[dict[str, Any]], bool] = lambda counts: False,
) -> list[Outcome]:
    """Do what is not done yet, with a progress bar; the outcomes of all shards, in their order.

    Args:
        step: An importable function.
        engine: 'local' or 'ray'.
        workers: Processes of the local engine; None: one a core; 0: in this process.
        again: Of a finished shard's counts, whether to do it again all the same.
    Raises: ValueError if two shards have the same output.
    """
    twice = [str(output) for output, count in Counter(shard.output for shard in shards).items() if count > 1]
    if twice:
        raise ValueError(f"several shards write to {', '.join(twice[:3])}")
    outcomes: dict[Path, Outcome] = {}
    for shard in shards:
        counts = _finished(step, shard)
        if counts is not None and not again(counts):
            outcomes[shard.output] = Outcome(shard, counts, done_before=True)
    waiting = [shard for shard in shards if shard.output not in outcomes]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=CONSOLE) as progress:
        task = progress.add_task(title, total=len(shards), completed=len(outcomes))
        for outcome in ENGINES[engine](step, waiting, workers):
            outcomes[outcome.shard.output] = outcome
            progress.advance(task)
            if outcome.error:
                progress.console.print(f"failed: {outcome.shard.name}: {outcome.error}", style="red", markup=False)
    return [outcomes[shard.output] for shard in shards]


def total(outcomes: Sequence[Outcome]) -> Counter:
    """The numbers that the shards counted, summed."""
    counts: Counter = Counter()
    for outcome in outcomes:
        numbers = {k: v for k, v in (outcome.counts or {}).items() if isinstance(v, (int, float))}
        counts.update(numbers)
    return counts


def show(title: str, rows: dict[str, Any]) -> None:
    """A table of names and values."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(), table.add_column(justify="right", overflow="fold")
    for name, value in rows.items():
        table.add_row(name, f"{value:,}" if isinstance(value, (int, float)) else str(value))
    CONSOLE.print(table)


def exit_if_failed(outcomes: Sequence[Outcome]) -> None:
    """End with exit code 1 and the names of the shards that failed, if any did."""
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        names = "\n".join(f"  {outcome.shard.name}: {outcome.error}" for outcome in failed)
        sys.exit(f"error: {len(failed)} of {len(outcomes)} shards failed; the same command does these again:\n{names}")


def matching(patterns: Sequence[str]) -> list[str]:
    """The paths that glob patterns stand for; what matches nothing, or is a file's name as it is, stays."""
    return [
        path
        for pattern in patterns
        for path in ([pattern] if os.path.exists(pattern) else sorted(glob(pattern, recursive=True)) or [pattern])
    ]


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--engine and --workers, as `run_shards` takes them."""
    parser.add_argument("--engine", choices=sorted(ENGINES), default="local", help="where shards run (default: local)")
    parser.add_argument("--workers", type=int, help="processes of the local engine (default: one a core)")


def _stamp(step: Step, shard: Shard) -> dict[str, Any]:
    settings = json.dumps([step.__name__, shard.settings], sort_keys=True)
    return {
        "inputs": {path: fingerprint(path) for path in shard.inputs},
        "settings": hashlib.sha256(settings.encode()).hexdigest(),
    }


def _stamp_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.stamp.json")


def _size(output: Path) -> int:
    files = [path for path in output.rglob("*") if path.is_file()] if output.is_dir() else [output]
    return sum(path.stat().st_size for path in files)


def _finished(step: Step, shard: Shard) -> dict[str, Any] | None:
    """The counts of a shard that need not be done again."""
    try:
        record = json.loads(_stamp_path(shard.output).read_text(encoding="utf-8"))
        whole = record["stamp"] == _stamp(step, shard) and record["size"] == _size(shard.output)
    except (OSError, json.JSONDecodeError, KeyError):
        return None
    return record["counts"] if whole else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _attempt(step: Step, shard: Shard) -> Outcome:
    """Do one shard; an error is an outcome too, whatever it is, for the other shards go on."""
    output = shard.output
    temporary = output.with_name(f".{output.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        stamp = _stamp(step, shard)  # before reading: an input that changes meanwhile is read again by the next run
        output.parent.mkdir(parents=True, exist_ok=True)
        for left_over in output.parent.glob(f".{output.name}.*.part"):
            _remove(left_over)
        counts = step(shard, temporary)
        _stamp_path(output).unlink(missing_ok=True)
        if output.is_dir():
            _remove(output)
        record = json.dumps({"stamp": stamp, "size": _size(temporary), "counts": counts})
        os.replace(temporary, output)
        half = temporary.with_suffix(".stamp")
        half.write_text(record, encoding="utf-8")
        os.replace(half, _stamp_path(output))
    except Exception as error:
        _remove(temporary)
        return Outcome(shard, None, f"{type(error).__name__}: {error}")
    return Outcome(shard, counts)


def _leave_with_parent() -> None:
    """End this process when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: threads of tokenizers and pyarrow do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_with_parent)


def _run_local(step: Step, shards: Sequence[Shard], workers: int | None) -> Iterator[Outcome]:
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    if workers == 0:
        yield from (_attempt(step, shard) for shard in shards)
        return
    waiting, running = deque(shards), {}
    while waiting:
        try:
            with _pool(min(workers, len(waiting))) as pool:
                while waiting or running:
                    while waiting and len(running) < workers:
                        shard = waiting.popleft()
                        running[shard.output] = (pool.submit(_attempt, step, shard), shard)
                    for future in wait([future for future, _ in running.values()], return_when=FIRST_COMPLETED).done:
                        outcome = future.result()
                        del running[outcome.shard.output]
                        yield outcome
        except BrokenProcessPool:  # a process died, of memory perhaps: which shard it was, each alone will show
            suspects = [shard for _, shard in running.values()]
            running.clear()
            yield from (_alone(step, shard) for shard in suspects)


def _alone(step: Step, shard: Shard) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(_attempt, step, shard).result()
        except BrokenProcessPool:
            return Outcome(shard, None, "its process was killed, which is often for want of memory")


def _run_ray(step: Step, shards: Sequence[Shard], workers: int | None) -> Iterator[Outcome]:
    """On the cluster of RAY_ADDRESS, or one of this machine; inputs and outputs lie where every node sees them."""
    try:
        import ray
    except ImportError as error:
        raise ImportError("--engine ray needs Ray: pip install 'momo-multimodal[cluster]'") from error
    if not ray.is_initialized():
        local = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False}
        paths = os.pathsep.join(path for path in sys.path if path)
        ray.init(log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **local)
    attempt = ray.remote(_attempt)
    limit = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, running = deque(shards), {}
    while waiting or running:
        while waiting and len(running) < limit:
            shard = waiting.popleft()
            running[attempt.options(name=shard.name).remote(step, shard)] = shard
        (reference,), _ = ray.wait(list(running), num_returns=1)
        shard = running.pop(reference)
        try:
            yield ray.get(reference)
        except ray.exceptions.RayError as error:
            yield Outcome(shard, None, f"{type(error).__name__}: {error}")


ENGINES = {"local": _run_local, "ray": _run_ray}
