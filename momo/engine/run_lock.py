"""One training at a time in a work_dir."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import warnings
from pathlib import Path

LOCK = ".lock"
_held: dict[Path, int] = {}  # by work_dir: the open file. A process may take its own lock again.


class WorkDirInUse(RuntimeError):
    """Another process trains in the work_dir."""


class RunLock:
    """Held while a run writes into its work_dir; ends with the process, however that ends.

    The kernel locks the file `.lock`, in which the holder's host, pid and Slurm job are noted. The lock of a process
    that is gone on this host is taken over, and so is one of the same Slurm job, which Slurm has requeued. Of another
    host, whose locks may not reach this one, the note alone counts.

    Raises: WorkDirInUse naming host and pid.
    """

    def __init__(self, work_dir: str | Path) -> None:
        self._path = Path(work_dir).resolve() / LOCK
        self._owner = False

    def __enter__(self) -> RunLock:
        if self._path in _held:
            return self
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        note = _read(descriptor)
        if not _lock(descriptor) or _is_elsewhere(note):
            os.close(descriptor)
            raise WorkDirInUse(
                f"{self._path.parent} is in use by process {note.get('pid', '?')} on {note.get('host', '?')}: wait for "
                f"it, choose another --work-dir, or, if that process is gone, delete {self._path}"
            )
        _write(descriptor, {"host": socket.gethostname(), "pid": os.getpid(), "slurm_job": _slurm_job()})
        _held[self._path], self._owner = descriptor, True
        return self

    def __exit__(self, *error: object) -> None:
        if self._owner:
            self._owner = False
            descriptor = _held.pop(self._path)
            _write(descriptor, {})
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        warnings.warn("this file system has no locks: a second job on this host would not be noticed", stacklevel=3)
    return True


def _is_elsewhere(note: dict) -> bool:
    same_job = note.get("slurm_job") is not None and note["slurm_job"] == _slurm_job()
    return note.get("host") not in (None, socket.gethostname()) and not same_job


def _slurm_job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def _read(descriptor: int) -> dict:
    text = os.pread(descriptor, 4096, 0)
    try:
        note = json.loads(text) if text else {}
    except ValueError:  # its writer was killed between two blocks
        note = {}
    return note if isinstance(note, dict) else {}


def _write(descriptor: int, note: dict) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _close_in_child() -> None:
    """A data worker must not keep the lock of a run that is gone."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
