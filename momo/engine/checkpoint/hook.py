"""Saving while training goes on, and resuming from what was saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from momo.engine.agree import from_first_rank
from momo.engine.run_lock import RunLock
from momo.ops import rank
from momo.registry import HOOKS

from .errors import CheckpointError
from .order import parameter_order, reorder, shard
from .snapshot import Snapshots, help_gather
from .storage import FILES, MANIFEST, Snapshot, verify, write_checkpoint
from .work_dir import (
    Run,
    begin_run,
    current_run,
    find_checkpoint,
    listed,
    newest_whole,
    point_to,
    prune,
    remove_leftovers,
)


class BackgroundTask:
    """One thing at a time in a thread; what it raises comes up in the main thread."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future | None = None

    def start(self, function: Callable[..., None], *args: Any) -> None:
        self.wait()
        self._pending = self._executor.submit(function, *args)

    def wait(self) -> None:
        """Raises: whatever the task raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """`wait`, if there is nothing to wait for."""
        if self._pending is not None and self._pending.done():
            self.wait()


@HOOKS.register_module()
class MoMoCheckpointHook(Hook):
    """Save checkpoints that hold no code and are whole or not there, and resume from the newest that is whole.

    Training waits while the state is copied to host memory; a thread of the first process then writes it, reads it
    back, and only then deletes an older one. If that fails, the run fails at its next step. `resume=True` goes on from
    the newest whole checkpoint of the run that last began in the work_dir, or begins anew if there is none.

    Args:
        interval: Epochs, or steps, between checkpoints.
        by_epoch: What `interval` counts.
        max_keep_ckpts: How many to keep, at least 2; -1, as MMEngine, keeps all.
        save_last: Save at the end of training too.
    Raises: ValueError for max_keep_ckpts of 0 or 1; CheckpointError if a checkpoint to resume from is not whole;
        OSError if one cannot be written; WorkDirInUse if another process trains in the work_dir.
    """

    priority = "VERY_LOW"

    def __init__(
        self, interval: int = 1, by_epoch: bool = True, max_keep_ckpts: int = -1, save_last: bool = True
    ) -> None:
        if max_keep_ckpts in (0, 1):
            raise ValueError(f"max_keep_ckpts={max_keep_ckpts}: keep at least 2, should one be damaged; -1 keeps all")
        self.interval, self.by_epoch, self.max_keep_ckpts = interval, by_epoch, max_keep_ckpts
        self.save_last = save_last
        self._snapshots, self._task, self._lock = Snapshots(), BackgroundTask(), ExitStack()
        self._run: Run | None = None
        self._claimed = False

    def before_run(self, runner) -> None:
        if self._run is not None or not isinstance(runner._train_loop, BaseLoop):  # no training, or what comes after
            return
        self._folder = Path(runner.work_dir)
        self._run, start = from_first_rank(lambda: self._find_start(runner))
        if runner._resume:
            runner._resume, runner._load_from = start is not None, start

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        saved = checkpoint.get("meta", {}).get("parameter_order") if runner._resume else None
        own = parameter_order(runner) if saved is not None else None
        if saved != own:
            runner.logger.warning(
                "The parameters come in another order than when the checkpoint was saved, as they do with the sorted "
                "config that MMEngine writes into the work_dir. The optimizer's state follows them, but dropout and "
                "the order of sums do not: with the config as it was, the run would go on exactly."
            )
            checkpoint["optimizer"] = reorder(checkpoint["optimizer"], saved, own)
        if saved is not None:
            checkpoint["optimizer"] = shard(checkpoint["optimizer"], runner.optim_wrapper.optimizer)

    def after_run(self, runner) -> None:
        self._lock.close()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._task.check()
        if not self._claimed and rank() == 0:  # the optimizer has its state now
            self._claimed = True
            self._task.start(self._snapshots.claim(runner))
        last = self.save_last and self.is_last_train_iter(runner)
        if not self.by_epoch and (last or self.every_n_train_iters(runner, self.interval)):
            self.save(runner, f"iter_{runner.iter + 1}", runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        last = self.save_last and self.is_last_train_epoch(runner)
        if self.by_epoch and (last or self.every_n_epochs(runner, self.interval)):
            self.save(runner, f"epoch_{runner.epoch + 1}", runner.epoch + 1, runner.iter)

    def after_train(self, runner) -> None:
        self._task.wait()

    def save(self, runner, name: str, epoch: int, step: int, *, wait: bool = False) -> None:
        """Save a checkpoint from which training goes on at this epoch and step; the first process does it.

        Weights that are sharded are gathered one by one, for which all processes must call it.

        Args:
            wait: Return when it is on the disk.
        """
        if rank() > 0:
            help_gather(runner, epoch, step)
            return
        started = time.perf_counter()
        self._task.wait()
        ready = time.perf_counter()
        snapshot = self._snapshots.take(runner, epoch, step, self._run.id)
        waited, copied = ready - started, time.perf_counter() - ready
        self._task.start(self._write, runner.logger, self._folder / name, snapshot, waited, copied)
        if wait:
            self._task.wait()

    def _write(self, logger, folder: Path, snapshot: Snapshot, waited: float, copied: float) -> None:
        started = time.perf_counter()
        write_checkpoint(folder, snapshot)
        verify(folder)
        point_to(folder)
        if self.max_keep_ckpts > 0:
            prune(self._folder, self._run, self.max_keep_ckpts)
        logger.info(
            f"Checkpoint {folder.name}: training waited {waited + copied:.2f} s ({waited:.2f} s for the one before, "
            f"{copied:.2f} s to copy {snapshot.size / 1e6:,.0f} MB); written and verified in "
            f"{time.perf_counter() - started:.2f} s beside it"
        )

    def _find_start(self, runner) -> tuple[Run, str | None]:
        """On the first process: which run this is, and the checkpoint that it goes on from."""
        folder, logger = self._folder, runner.logger
        self._lock.enter_context(RunLock(folder))
        leftovers = remove_leftovers(folder)
        if leftovers:
            logger.warning(f"Removed what an interrupted process had left: {', '.join(leftovers)}")
        if not runner._resume:
            others = [path.name for path, _ in listed(folder, None)]
            if others:
                logger.warning(
                    f"{folder} has checkpoints of an earlier run, {', '.join(others)}. This run begins anew: it writes "
                    "over those of the same name, and --resume will not go on from them."
                )
            return begin_run(folder), None
        if runner._load_from is not None:
            return self._take_given(folder, runner._load_from)
        return self._find_newest(folder, logger)

    def _take_given(self, folder: Path, given: str) -> tuple[Run, str]:
        start, newest = find_checkpoint(given), find_checkpoint(folder)
        if start is None or not (start / MANIFEST).is_file():
            raise CheckpointError(f"{given} is no checkpoint to resume from: if it has weights, use load_from")
        run_id = verify(start, FILES).run
        goes_on = newest is not None and newest.resolve() == start.resolve()
        return (begin_run(folder, run_id=run_id) if goes_on else begin_run(folder, start)), str(start)

    def _find_newest(self, folder: Path, logger) -> tuple[Run, str | None]:
        run = current_run(folder)
        start = newest_whole(folder, run, logger.warning)
        if start is not None:
            run = run or begin_run(folder, run_id=verify(start).run)
        elif run is not None and run.resumed_from is not None:
            start = Path(run.resumed_from)
            verify(start)
        if start is None:
            logger.warning(f"There is no checkpoint of this run in {folder}: it begins anew.")
        return run or begin_run(folder), None if start is None else str(start)
