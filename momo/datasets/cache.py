"""Files made from the data, so that it can be read at random: made once, and anew when the data changes."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec
import pyarrow
from mmengine.logging import print_log
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from momo.ops import key_of

from .storage import base_name, fingerprint, is_url

if sys.platform != "win32":
    import fcntl


def cached(
    source: str,
    kind: str,
    build: Callable[[Path], None],
    cache_dir: str | None = None,
    version: str | None = None,
) -> Path:
    """The file of a kind that belongs to `source`, built if it is not there or if the source has changed since.

    It lies in `cache_dir` if that is given; otherwise beside the source, or in it if that is a folder, as a hidden
    file; where nothing can be written there and it is not there yet, or the source is a URL, in $XDG_CACHE_HOME/momo.
    Its name holds the source's size and time of change, so what is stale is never found. It appears whole or not at
    all, and one process of a machine builds while others wait.

    Args:
        kind: What is built, its format's version included, as a part of a file name.
        build: Writes the file at the path it is given.
        version: What changes when the file has to be built anew; the default is the source's fingerprint.
    Raises: FileNotFoundError if there is no such source.
    """
    name = f"{kind}.{key_of(version or fingerprint(source)):016x}"
    folder, stem = _place(source, cache_dir, name)
    target = folder / f"{stem}.{name}"
    if target.exists():
        return target
    with _alone(folder / f"{stem}.{kind}.lock"):
        if not target.exists():
            others = folder.glob(f"{_literal(stem)}.{kind}.*")
            stale = [other for other in others if other.suffix != ".lock" and not _being_written(other)]
            write_atomically(target, build)
            for other in stale:
                other.unlink(missing_ok=True)
    return target


def local_copy(path: str, cache_dir: str | None = None) -> str | Path:
    """A file that can be mapped: the path itself, or a copy of what lies at a URL."""
    if not is_url(path):
        return path
    system, inner = fsspec.core.url_to_fs(path)
    return cached(path, "copy", lambda target: system.get_file(inner, str(target)), cache_dir)


def write_atomically(target: Path, build: Callable[[Path], None]) -> None:
    """Let `build` write a file that takes `target`'s place when it is complete and on disk."""
    half = target.with_name(f"{target.name}.{_HOST}-{os.getpid()}.tmp")
    try:
        build(half)
        with open(half, "rb") as file:
            os.fsync(file.fileno())
        os.replace(half, target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


_HOST = f"{key_of(socket.gethostname()):016x}"


def _being_written(path: Path) -> bool:
    """Whether this is a half file of another process, which is alive or on another machine."""
    if path.suffix != ".tmp":
        return False
    host, _, process = path.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
    if host != _HOST:
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return int(process) != os.getpid()


def _place(source: str, cache_dir: str | None, name: str) -> tuple[Path, str]:
    """The folder for what is made of a source, and what its files' names begin with; `name` is how they go on."""
    if cache_dir is None and not is_url(source):
        path = Path(source).absolute()
        beside, stem = path if path.is_dir() else path.parent, f".{base_name(source)}"
        if os.access(beside, os.W_OK) or (beside / f"{stem}.{name}").exists():
            return beside, stem
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "momo"
    folder = base if cache_dir is None else Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    full = source if is_url(source) else str(Path(source).absolute())
    return folder, f"{base_name(source.rstrip('/'))}.{key_of(full):016x}"


def _literal(name: str) -> str:
    """A glob pattern for this very name."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """No other process of this machine is in here with the same lock file."""
    with _locked(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _locked(path: Path) -> IO[str]:
    """The lock file, held. Where its last holder has removed it meanwhile, another process may hold a new one."""
    while True:
        file = open(path, "w")
        if sys.platform != "win32":
            with suppress(OSError):  # a file system without locks: each process then builds its own
                fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


class MappedTable:
    """An Arrow file, memory-mapped: processes of a machine share its pages, and what is not used costs nothing.

    Args:
        path: In Arrow's file format, or its stream format, which `datasets` writes.
    Raises: ValueError if it is neither.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with pyarrow.memory_map(self.path) as source:
            magic = source.read(6)
            source.seek(0)
            try:
                opened = pyarrow.ipc.open_file if magic == b"ARROW1" else pyarrow.ipc.open_stream
                self.table = opened(source).read_all()
                self.table.validate()
            except (pyarrow.ArrowInvalid, OSError) as error:
                raise ValueError(f"{path} is not an Arrow file, or is cut off: {error}") from error

    def __len__(self) -> int:
        return self.table.num_rows

    def __reduce__(self) -> tuple:
        return type(self), (self.path,)  # another process maps the file itself

    def cell(self, column: str, row: int) -> Any:
        """One value, as Python has it."""
        return self.table[column][row].as_py()


def write_table(path: Path, schema: pyarrow.Schema, batches: Iterator[pyarrow.RecordBatch | pyarrow.Table]) -> None:
    """Write an Arrow file for MappedTable, a part at a time."""
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write(batch)


@contextmanager
def progress(what: str, total: int | None, log: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line in a log unless `log` is off; call it with what has been done since the last call."""
    if log and not sys.stderr.isatty():
        print_log(f"{what} ...", "current", logging.INFO)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)
