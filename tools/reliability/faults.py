"""Ends of a process at chosen places of a save: functions that the product calls are replaced by ones that end it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from momo.engine import MultiModalTrainLoop
from momo.engine.checkpoint import storage, work_dir


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner: Any, name: str, count: int, applies: Callable[..., bool], before: Callable[..., None]) -> None:
    """Have the `count`-th call of owner.name that `applies` do `before`, and end there."""
    original, calls = getattr(owner, name), [0]

    def replacement(*args: Any, **kwargs: Any) -> Any:
        if applies(*args):
            calls[0] += 1
            if calls[0] == count:
                before(*args)
                die()
        return original(*args, **kwargs)

    setattr(owner, name, replacement)


def _nothing(*args: Any) -> None:
    pass


def _is_draft(path: Any, *args: Any) -> bool:
    return Path(path).name.startswith(storage.DRAFT)


def _is_discarded(path: Any, *args: Any) -> bool:
    return Path(path).name.startswith(storage.DISCARDED) and Path(path).is_dir()


def _write_half(tensors: Any, path: Path) -> None:
    content = os.urandom(5000)
    path.write_bytes(content)


def _delete_one(path: Path, *args: Any) -> None:
    next(Path(path).iterdir()).unlink()


def _always(*args: Any) -> bool:
    return True


# By stage of a save, in the order in which a save passes through them: what is replaced.
SAVE_STAGES: dict[str, tuple] = {
    "before open": (Path, "mkdir", _is_draft, _nothing),
    "mid-write": (storage, "_save", lambda tensors, path: path.name == storage.MODEL, _write_half),
    "before manifest": (storage, "_finish", _always, _nothing),
    "before rename": (Path, "rename", _is_draft, _nothing),
    "before pointer": (work_dir.os, "replace", lambda source, target: Path(target).name == work_dir.POINTER, _nothing),
    "mid-prune": (storage.shutil, "rmtree", _is_discarded, _delete_one),
}


def die_in_save(stage: str, save: int) -> None:
    """End in the `save`-th save, counted where the stage is reached."""
    owner, name, applies, before = SAVE_STAGES[stage]
    at_call(owner, name, save, applies, before)


def die_at_epoch_edge(epoch: int) -> None:
    """End when the hooks of an epoch's end have run, and the loop has not counted it yet."""
    original = MultiModalTrainLoop.run_epoch

    def run_epoch(loop: MultiModalTrainLoop) -> None:
        original(loop)
        if loop.epoch == epoch:
            die()

    MultiModalTrainLoop.run_epoch = run_epoch
