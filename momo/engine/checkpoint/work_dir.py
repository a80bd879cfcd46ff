"""The checkpoints of a run's folder: which there are, which is the newest, which may go."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .errors import CheckpointError
from .storage import DISCARDED, DRAFT, MANIFEST, Manifest, discard, read_manifest, sync, verify

POINTER, RUN = "last_checkpoint", "run.json"
DAMAGED = ".damaged"  # ends the name of a checkpoint that was refused


class Run(NamedTuple):
    """Which training a folder's checkpoints belong to. resumed_from: a checkpoint outside of it that it began with."""

    id: str
    resumed_from: str | None = None


def begin_run(work_dir: Path, resumed_from: Path | None = None, run_id: str | None = None) -> Run:
    """Note that a new run begins; checkpoints that an earlier one left stay where they are, but are not its own.

    Args:
        resumed_from: A checkpoint of another run.
        run_id: The run's own that its checkpoints have, where the note has been lost.
    """
    run = Run(run_id or uuid.uuid4().hex, None if resumed_from is None else str(resumed_from.resolve()))
    work_dir.mkdir(parents=True, exist_ok=True)
    _replace_text(work_dir / RUN, json.dumps(run._asdict()) + "\n")
    if run_id is None:
        (work_dir / POINTER).unlink(missing_ok=True)
    return run


def current_run(work_dir: Path) -> Run | None:
    """The run that last began here, None if that is not known.

    Raises: CheckpointError if the note is damaged.
    """
    path = work_dir / RUN
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to take the newest checkpoint") from error


def listed(work_dir: Path, run: Run | None) -> list[tuple[Path, Manifest | CheckpointError]]:
    """Folders of checkpoints, damaged ones first, then the newest first; of one run, or of any."""
    found: list[tuple[Path, Manifest | CheckpointError]] = []
    for folder in work_dir.glob("*_*"):
        if folder.is_dir() and re.fullmatch(r"(epoch|iter)_\d+", folder.name):
            try:
                manifest = read_manifest(folder)
            except CheckpointError as error:
                found.append((folder, error))
                continue
            if run is None or manifest.run == run.id:
                found.append((folder, manifest))
    return sorted(found, key=lambda item: item[1].step if isinstance(item[1], Manifest) else float("inf"), reverse=True)


def find_checkpoint(path: str | Path) -> Path | None:
    """A file or checkpoint itself, or the newest checkpoint of a work_dir; None if there is none yet.

    What a file `last_checkpoint` points to counts if it is a file of weights.
    """
    path = Path(path)
    if path.is_file() or (path / MANIFEST).is_file():
        return path
    pointed = _pointed(path)
    if pointed is not None:
        return pointed
    return next((folder for folder, m in listed(path, current_run(path)) if isinstance(m, Manifest)), None)


def _pointed(work_dir: Path) -> Path | None:
    pointer = work_dir / POINTER
    if not pointer.is_file():
        return None
    # It may name the place where the folder lay when it was written.
    named = Path(pointer.read_text(encoding="utf-8").strip())
    return next((file for file in (work_dir / named.name, named) if file.is_file()), None)


def newest_whole(work_dir: Path, run: Run | None, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is what it says it is; newer ones that are not are set aside, and `warn` is told.

    Raises: CheckpointError naming all of them if there are only damaged ones.
    """
    problems = []
    for folder, manifest in listed(work_dir, run):
        try:
            if isinstance(manifest, CheckpointError):
                raise manifest
            verify(folder)
        except CheckpointError as error:
            problems.append((folder, error))
            continue
        for damaged, error in problems:
            warn(f"{error}. Set aside as {_set_aside(damaged)}; going on from {folder}, which is whole.")
        return folder
    if problems:
        lines = "\n".join(f"  {error}" for _, error in problems)
        raise CheckpointError(f"{work_dir} has damaged checkpoints only; move them away to begin anew:\n{lines}")
    return None


def _set_aside(folder: Path) -> Path:
    target = folder.with_name(folder.name + DAMAGED)
    shutil.rmtree(target, ignore_errors=True)
    return folder.rename(target)


def point_to(folder: Path) -> None:
    """Make `last_checkpoint` name a checkpoint, for MMEngine and for people."""
    _replace_text(folder.parent / POINTER, str(folder))


def prune(work_dir: Path, run: Run, keep: int) -> None:
    """Delete a run's checkpoints but the newest `keep`."""
    whole = [folder for folder, manifest in listed(work_dir, run) if isinstance(manifest, Manifest)]
    for folder in whole[keep:]:
        discard(folder)


def remove_leftovers(work_dir: Path) -> list[str]:
    """Delete what a killed process was writing or deleting; the names."""
    found = [path for path in work_dir.glob(".*") if path.name.startswith((DRAFT, DISCARDED))]
    for path in found:
        shutil.rmtree(path)
    return [path.name for path in found]


def _replace_text(path: Path, text: str) -> None:
    """Write a file that is either the old or the new one, whenever the machine stops."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    os.replace(draft, path)
    sync(path.parent)
