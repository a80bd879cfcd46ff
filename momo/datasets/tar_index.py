"""Where each member of a tar lies, so that any of them can be read at once and none has to be extracted."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow

from .cache import MappedTable, cached, progress, write_table
from .storage import open_binary

_MEMBERS = pyarrow.schema([("name", pyarrow.string()), ("offset", pyarrow.int64()), ("size", pyarrow.int64())])
_BATCH = 65536  # rows
_SKIPPED = b"skipped"
# By what a compressed file begins with, what makes it a plain tar.
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\x00": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}


class Member(NamedTuple):
    """A file in a tar: its name, and which bytes of the tar it is."""

    name: str
    offset: int
    size: int


class TarIndex(MappedTable):
    """The members of one tar, in its order."""

    def __iter__(self) -> Iterator[Member]:
        columns = (self.table[name].to_pylist() for name in Member._fields)
        return map(Member._make, zip(*columns, strict=True))

    @property
    def skipped(self) -> dict[str, int]:
        """How many members were left out, by reason."""
        return json.loads(self.table.schema.metadata[_SKIPPED])


def index_tar(path: str, cache_dir: str | None = None) -> TarIndex:
    """The members of an uncompressed tar, and of the tars in it (ImageNet comes as a tar of 1,000 tars).

    The name of an inner tar's member is '<inner tar>/<member>'. Only plain files are listed: links and devices are not
    followed, names that are absolute or lead upwards are left out, sparse files too, and all of them counted. Nothing
    is written but the index.

    Raises: FileNotFoundError if it is not there; ValueError if it is compressed, no tar, damaged, ends too early, or
        goes on after its end.
    """

    def build(target: Path) -> None:
        left_out: Counter = Counter()
        with open_binary(path) as file, progress(f"indexing {path}", None, log=False) as advance:
            _check_plain(file, path)
            parts = []
            for part in batches(_members(file, path, "", 0, None, left_out), _MEMBERS):
                parts.append(part)
                advance(len(part))
        write_table(target, _MEMBERS.with_metadata({_SKIPPED: json.dumps(left_out)}), parts)

    return TarIndex(cached(path, "tar-index-1", build, cache_dir))


def batches(rows: Iterable[tuple], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Rows as Arrow holds them, some ten thousand at a time."""
    rows = iter(rows)
    while part := list(islice(rows, _BATCH)):
        columns = zip(*part, strict=True)
        arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pyarrow.record_batch(arrays, schema=schema)


def _check_plain(file: BinaryIO, path: str) -> None:
    head = file.read(8)
    for magic, command in _COMPRESSED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{path} is compressed, and the members of a compressed tar cannot be read at random: "
                f"make it a plain one, once, with {command} (images hardly grow by it)"
            )


def _members(
    file: BinaryIO, path: str, prefix: str, start: int, end: int | None, left_out: Counter
) -> Iterator[Member]:
    """The plain files of the tar that lies in `file` from `start` to `end`."""
    where = f"{path}, {prefix[:-1]}," if prefix else path
    file.seek(start)
    try:
        archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace")
        for info in archive:
            archive.members = []  # tarfile keeps all it has seen, which is gigabytes for a large set
            stop = info.offset_data + info.size
            if info.size < 0 or (end is not None and stop > end):
                raise tarfile.ReadError(f"{info.name!r} does not end inside")
            problem = _problem(info)
            if info.isdir():
                continue
            if problem:
                left_out[problem] += 1
            elif info.name.lower().endswith(".tar") and not prefix:
                yield from _members(file, path, f"{info.name}/", info.offset_data, stop, left_out)
            else:
                yield Member(prefix + info.name, info.offset_data, info.size)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes rubbish for the end
            raise tarfile.ReadError(f"no end mark at byte {archive.offset}")
        if end is None and file.read(tarfile.RECORDSIZE).strip(b"\0"):  # by which size tars are filled up
            raise ValueError(
                f"{path} goes on after its end mark at byte {archive.offset}, as several tars in a row do, of which "
                "only the first would be read: keep them in files of their own"
            )
    except tarfile.TarError as error:
        raise ValueError(
            f"{where} is no tar, damaged, or ends too early ({error}): compare its size with the publisher's and "
            "fetch it again"
        ) from error


def _problem(info: tarfile.TarInfo) -> str | None:
    """Why a member is left out, None if it is not."""
    if info.issym() or info.islnk():
        return "link"
    if not info.isreg():
        return "device or other special file"
    if info.issparse():
        return "sparse file"
    if info.name.startswith("/") or ".." in info.name.split("/") or "\0" in info.name:
        return "name that leads outside"
    return None
