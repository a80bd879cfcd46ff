"""Plain text, document by document."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet

from momo.registry import DATASETS

from .base import KeyedDataset, existing


class _Documents(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> str: ...


class _Lines:
    """The non-empty lines of a text file, found once, read from the file when asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self._map = path, None
        bounds, offset = [], 0
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    bounds.append((offset, offset + len(line)))
                offset += len(line)
        self.bounds = np.array(bounds, dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, index: int) -> str:
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        start, stop = self.bounds[index]
        return self._map[start:stop].decode("utf-8", errors="replace").strip()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_map": None}  # each process maps the file itself


class _Column:
    """One string column of a parquet file, memory-mapped."""

    def __init__(self, path: Path, column: str) -> None:
        names = pyarrow.parquet.read_schema(path).names
        if column not in names:
            raise ValueError(f"{path} has no column {column!r}; it has {names}")
        self.values = pyarrow.parquet.read_table(path, columns=[column], memory_map=True)[column]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> str:
        return self.values[index].as_py()


@DATASETS.register_module()
class TextCorpus(KeyedDataset):
    """Documents from text files (one a line) and parquet files (one a row).

    Args:
        files: Paths or glob patterns ending in .txt or .parquet.
        pipeline: Transforms; usually Tokenize.
        column: Column of the parquet files that holds the text.
    Raises: FileNotFoundError if a pattern matches nothing; ValueError for another ending, or if no document is there.
    """

    def __init__(self, files: str | Sequence[str], pipeline: Sequence[dict], column: str = "text") -> None:
        super().__init__(pipeline)
        patterns = [files] if isinstance(files, str) else list(files)
        self.sources: list[tuple[Path, _Documents]] = []
        for pattern in patterns:
            matches = sorted(glob(pattern, recursive=True)) or [
                str(existing(pattern, "files", "text or parquet files"))
            ]
            self.sources += [(Path(path), self._open(Path(path), column)) for path in matches]
        self.ends = np.cumsum([len(documents) for _, documents in self.sources]).tolist()
        if not self.ends or self.ends[-1] == 0:
            raise ValueError(f"files={files!r} hold no document")

    @staticmethod
    def _open(path: Path, column: str) -> _Documents:
        if path.suffix == ".txt":
            return _Lines(path)
        if path.suffix == ".parquet":
            return _Column(path, column)
        raise ValueError(f"{path}: a corpus is made of .txt files (a document a line) or .parquet files")

    def __len__(self) -> int:
        return self.ends[-1]

    def read(self, index: int) -> dict[str, Any]:
        place = bisect_right(self.ends, index)
        path, documents = self.sources[place]
        row = index - (self.ends[place - 1] if place else 0)
        return {"sample_id": f"{path}:{row}", "text": documents[row]}
