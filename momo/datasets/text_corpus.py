"""Plain text, document by document."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from momo.registry import DATASETS

from .base import KeyedDataset, checked_text, pick
from .cache import cached, local_copy, progress
from .storage import base_name
from .tables import Part, Rows, find, open_table

_BLOCK = 64 * 2**20  # bytes of a text file looked through at a time
_SPACE = np.isin(np.arange(256), np.frombuffer(b" \t\n\r\x0b\x0c", dtype=np.uint8))


class TextLines:
    """The lines of a UTF-8 file that are not blank, found once, read from the mapped file when asked for.

    Args:
        path: A local file.
    """

    def __init__(self, path: str, cache_dir: str | None = None) -> None:
        self.path = path
        self.bounds_path = cached(path, "lines-1", partial(_write_bounds, path), cache_dir)
        self._open()

    def _open(self) -> None:
        self.bounds = np.load(self.bounds_path, mmap_mode="r")
        with open(self.path, "rb") as file:
            # An empty file cannot be mapped.
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(self.bounds) else b""

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def nbytes(self) -> int:
        return len(self.map)

    def cell(self, column: str, row: int) -> str:
        """The text, whatever the column.

        Raises: UnicodeDecodeError if it is not UTF-8.
        """
        start, stop = self.bounds[row].tolist()
        return self.map[start:stop].decode("utf-8-sig").strip()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "bounds_path": self.bounds_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()  # each process maps the files itself


def _write_bounds(path: str, target: Path) -> None:
    """Start and stop of each line, (L, 2) int64, as an .npy file."""
    size = Path(path).stat().st_size
    found = [np.empty((0, 2), dtype=np.int64)]
    with open(path, "rb") as file, progress(f"finding the lines of {path}", size) as advance:
        start = 0
        while block := file.read(_BLOCK):
            if len(block) == _BLOCK:
                block += file.readline()  # up to the end of its last line
            found.append(_bounds(np.frombuffer(block, dtype=np.uint8)) + start)
            start += len(block)
            advance(len(block))
    with open(target, "wb") as file:
        np.save(file, np.concatenate(found))


def _bounds(block: np.ndarray) -> np.ndarray:
    """Bounds (L, 2) of the lines in whole lines (N,) uint8 that are not blank."""
    stops = np.flatnonzero(block == ord("\n")) + 1
    if not stops.size or stops[-1] != block.size:
        stops = np.append(stops, block.size)
    starts = np.concatenate([[0], stops[:-1]])
    blank = np.logical_and.reduceat(_SPACE[block], starts)
    return np.stack([starts, stops], axis=1)[~blank]


def open_texts(path: str, column: str, cache_dir: str | None = None) -> Part:
    """The documents of one file, which its parts call 'text': the lines of a .txt, or a column of a table.

    Raises: as `open_table`.
    """
    if base_name(path).lower().endswith(".txt"):
        return TextLines(str(local_copy(path, cache_dir)), cache_dir)
    return open_table(path, {"text": [column]}, cache_dir)


@DATASETS.register_module()
class TextCorpus(KeyedDataset):
    """Documents: the lines of text files, or a column of tables.

    Wikipedia and BookCorpus are read as Hugging Face has them, downloaded as parquet or saved by `datasets`. A text
    that is blank, not UTF-8 or no string is broken; see KeyedDataset for what becomes of it.

    Args:
        files: Paths or glob patterns, local or of a URL, ending in .txt, .parquet, .arrow, .csv, .tsv, .jsonl or .json;
            or a folder that `datasets` saved.
        pipeline: Transforms; usually Tokenize.
        column: The column of tables that holds the text.
        max_bad_fraction: See BrokenSamples.
        cache_dir: Folder of what is made to enter files in the middle; None: beside them where that can be written, or
            else in the user's cache.
    Raises: FileNotFoundError if a pattern matches nothing; ValueError for another ending, a table without the column,
        or if no document is there.
    """

    def __init__(
        self,
        files: str | Sequence[str],
        pipeline: Sequence[dict],
        column: str = "text",
        max_bad_fraction: float = 0.01,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(pipeline)

        found = find(files, "files", "text files or tables")
        self.rows = Rows((path, open_texts(path, column, cache_dir)) for path in found)
        if not len(self.rows):
            raise ValueError(f"files={files!r} hold no document")
        self.tolerate(max_bad_fraction)

    def __len__(self) -> int:
        return len(self.rows)

    def sample_id(self, index: int) -> str:
        return self.rows.name(index)

    def read(self, index: int) -> dict[str, Any]:
        return {"sample_id": self.sample_id(index), "text": checked_text(pick(self.rows.cell("text", index)))}
