"""Samples in many tars, as one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from .base import existing
from .cache import MappedTable, cached, progress, write_table
from .storage import base_name, fingerprint, is_url, list_files
from .tar_index import TarIndex, batches, index_tar

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  # all but the first end in an error
_TARS_A_PROCESS = 16  # fewer are indexed sooner than a process starts


class TarSamples:
    """The samples of all tars below `root`, in a table that is made once and mapped.

    Attributes:
        tars: Their paths.
        chunks: Where each tar's samples begin, and their number, (tars + 1,) int64.
    Args:
        kind: Names the selection in the cache.
        columns: Of a sample, as `select` returns them.
        select: From a tar and its members to its samples.
    Raises: as `find_tars` and `index_tar`.
    """

    def __init__(
        self,
        root: str,
        kind: str,
        columns: Sequence[tuple[str, pyarrow.DataType]],
        select: Callable[[str, TarIndex], Iterable[tuple]],
        cache_dir: str | None = None,
    ) -> None:
        self.tars = find_tars(root)
        schema = pyarrow.schema([("tar", pyarrow.int32()), *columns])
        version = "\n".join(f"{path} {fingerprint(path)}" for path in self.tars)

        def build(target: Path) -> None:
            write_table(target, schema, batches(_samples(self.tars, select, cache_dir), schema))

        self.table = MappedTable(cached(root, kind, build, cache_dir, version))
        counts = np.zeros(len(self.tars), dtype=np.int64)
        for part in self.table.table["tar"].chunks:  # no copy of the whole column
            counts += np.bincount(part.to_numpy(), minlength=len(self.tars))
        self.chunks = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return len(self.table)

    def cell(self, column: str, row: int) -> Any:
        return self.table.cell(column, row)

    def tar(self, row: int) -> str:
        """The path of the tar that a sample lies in."""
        return self.tars[self.table.cell("tar", row)]


def find_tars(root: str) -> list[str]:
    """A tar, or all below a folder or URL.

    Raises: FileNotFoundError if nothing is there; ValueError if there is no tar.
    """
    if is_url(root):
        found = [root] if base_name(root).lower().endswith(_ENDINGS) else list_files(root, _ENDINGS)
    else:
        path = existing(root, "root", "a .tar file or a folder of them")
        found = [root] if path.is_file() else list_files(root, _ENDINGS)
    if not found:
        raise ValueError(f"root={root!r} holds no .tar file")
    return found


def _samples(
    tars: Sequence[str], select: Callable[[str, TarIndex], Iterable[tuple]], cache_dir: str | None
) -> Iterator[tuple]:
    index = partial(index_tar, cache_dir=cache_dir)
    processes = min(os.cpu_count() or 1, len(tars) // _TARS_A_PROCESS)
    with progress(f"indexing {len(tars)} tars", len(tars)) as advance:
        if processes > 1:
            with ProcessPoolExecutor(processes) as pool:
                for _ in pool.map(index, tars):
                    advance(1)
        for number, path in enumerate(tars):
            yield from ((number, *row) for row in select(path, index(path)))
            if processes <= 1:
                advance(1)
