"""Rows of Arrow, parquet, CSV, TSV, JSON and JSONL files, any of which can be read at once, in memory that is mapped.

Arrow files are mapped as they are. All others are copied once, only the columns that are wanted, to an Arrow file (see
`cached`), because neither compressed columns nor lines of text can be entered in the middle.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fsspec
import numpy as np
import pyarrow

from momo.ops import key_of

from .base import existing
from .cache import MappedTable, cached, local_copy
from .storage import base_name, found_url, is_url
from .to_arrow import CONVERTERS, Columns, choose_columns


class Part(Protocol):
    """The rows of one file."""

    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def cell(self, column: str, row: int) -> Any: ...


class Place(NamedTuple):
    """A row of one of several files."""

    path: str
    part: Part
    row: int


class Rows:
    """Several files as one.

    Args:
        parts: By path.
    """

    def __init__(self, parts: Iterable[tuple[str, Part]]) -> None:
        self.parts = list(parts)
        self.ends = np.cumsum([len(part) for _, part in self.parts], dtype=np.int64).tolist()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, index: int) -> Place:
        number = bisect_right(self.ends, index)
        path, part = self.parts[number]
        return Place(path, part, index - (self.ends[number - 1] if number else 0))

    def cell(self, column: str, index: int) -> Any:
        _, part, row = self.place(index)
        return part.cell(column, row)

    def name(self, index: int) -> str:
        """'path:row'."""
        path, _, row = self.place(index)
        return f"{path}:{row}"


class TableFile:
    """An Arrow file, its columns under our names.

    Raises: ValueError if it is no Arrow file or lacks a column.
    """

    def __init__(self, path: str | Path, columns: Columns, name: str) -> None:
        self.mapped = MappedTable(path)
        self.columns = choose_columns(columns, self.mapped.table.column_names, name)

    def __len__(self) -> int:
        return len(self.mapped)

    def column(self, column: str) -> pyarrow.ChunkedArray:
        return self.mapped.table[self.columns[column]]

    @property
    def nbytes(self) -> int:
        return sum(self.column(name).nbytes for name in self.columns)

    def cell(self, column: str, row: int) -> Any:
        return self.mapped.cell(self.columns[column], row)


def find(files: str | Sequence[str], key: str, what: str) -> list[str]:
    """Paths of files, of glob patterns, and of folders that `datasets` saved, in order.

    Raises: FileNotFoundError naming the config key if nothing is there; ValueError for a folder of several splits.
    """
    found: list[str] = []
    for pattern in [files] if isinstance(files, str) else files:
        if is_url(pattern):
            system, inner = fsspec.core.url_to_fs(pattern)
            matches = sorted(found_url(pattern, system, path) for path in system.glob(inner))
            if not matches:
                raise FileNotFoundError(f"{key}={pattern!r} does not exist; {what} should lie there")
        elif Path(pattern).exists():  # '[' and '*' may be parts of a name
            matches = [pattern]
        else:
            matches = sorted(glob(pattern, recursive=True)) or [str(existing(pattern, key, what))]
        for path in matches:
            found += _saved(Path(path)) if not is_url(path) and Path(path).is_dir() else [path]
    return found


def _saved(folder: Path) -> list[str]:
    """The files of a dataset that `datasets` saved."""
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
        raise ValueError(f"{folder} holds several splits: name the folder of one, {' or '.join(splits)}")
    if not (folder / "state.json").is_file():
        raise ValueError(f"{folder} is a folder without state.json: name files in it, as in {folder}/*.parquet")
    names = [row["filename"] for row in json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]]
    return [str(folder / Path(name).name) for name in names]


def open_table(path: str, columns: Columns, cache_dir: str | None = None) -> TableFile:
    """The rows of one file, by its ending.

    Strings of JSON become lists of strings; what is no string, or a line that is no JSON, becomes null. So does what is
    not UTF-8.

    Raises: ValueError naming the file if it lacks a column, has another ending, or cannot be read at all.
    """
    ending = Path(base_name(path)).suffix.lower()
    if ending == ".arrow":
        return TableFile(local_copy(path, cache_dir), columns, path)
    if ending not in CONVERTERS:
        raise ValueError(f"{path}: a table ends in .arrow, {', '.join(CONVERTERS)}")
    kind = f"table-2-{key_of(json.dumps(columns)):08x}"[:24]
    build = partial(_convert, CONVERTERS[ending], path, columns)
    return TableFile(cached(path, kind, build, cache_dir), {name: [name] for name in columns}, path)


def _convert(converter: Callable[[str, Columns, Path], None], path: str, columns: Columns, target: Path) -> None:
    try:
        converter(path, columns, target)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not of what is in the file
            raise
        raise ValueError(f"{path} cannot be read, it is damaged or of another form: {error}") from error
