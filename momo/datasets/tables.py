"""Rows of Arrow, parquet, CSV, TSV, JSON and JSONL files, any of which can be read at once, in memory that is mapped.

Arrow files are mapped as they are. All others are copied once, only the columns that are wanted, to an Arrow file (see
`cached`), because neither compressed columns nor lines of text can be entered in the middle.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from glob import glob
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fsspec
import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from mmengine.logging import print_log

from momo.ops import key_of

from .base import existing
from .cache import MappedTable, cached, local_copy, progress, write_table
from .storage import base_name, is_url
from .tar_index import batches

# By our name of a column, its names in files; the first that is there counts.
Columns = Mapping[str, Sequence[str]]
_PART = 32 * 2**20  # bytes of a record batch
_ROWS = 1024  # rows read at a time: images may be among the columns


class Part(Protocol):
    """The rows of one file."""

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
        self.columns = _chosen(columns, self.mapped.table.column_names, name)

    def __len__(self) -> int:
        return len(self.mapped)

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
            matches = sorted(map(system.unstrip_protocol, system.glob(inner)))
            if not matches:
                raise FileNotFoundError(f"{key}={pattern!r} does not exist; {what} should lie there")
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
    if ending not in _CONVERTERS:
        raise ValueError(f"{path}: a table ends in .arrow, {', '.join(_CONVERTERS)}")
    kind = f"table-1-{key_of(json.dumps(columns)):08x}"[:24]
    build = partial(_CONVERTERS[ending], path, columns)
    return TableFile(cached(path, kind, build, cache_dir), {name: [name] for name in columns}, path)


def _chosen(columns: Columns, present: Sequence[str], path: str) -> dict[str, str]:
    """Which of the names of each column a file has."""
    chosen = {}
    for ours, names in columns.items():
        found = [name for name in names if name in present]
        if not found:
            raise ValueError(f"{path} has no column {' or '.join(map(repr, names))}; it has {list(present)}")
        chosen[ours] = found[0]
    return chosen


# ------------------------------------------------------------------ other forms to Arrow
def _from_parquet(path: str, columns: Columns, target: Path) -> None:
    with fsspec.open(path, "rb") as file:
        source = pyarrow.parquet.ParquetFile(file)
        chosen = _chosen(columns, source.schema_arrow.names, path)
        fields = [source.schema_arrow.field(theirs).with_name(ours) for ours, theirs in chosen.items()]
        schema = pyarrow.schema(fields)

        def parts(advance: Callable[[int], None]) -> Iterator[pyarrow.Table]:
            for batch in source.iter_batches(_ROWS, columns=list(chosen.values())):
                advance(len(batch))
                arrays = [batch.column(theirs) for theirs in chosen.values()]
                yield pyarrow.record_batch(arrays, schema=schema)

        with progress(f"preparing {path}", source.metadata.num_rows) as advance:
            write_table(target, schema, _grouped(parts(advance)))


def _grouped(parts: Iterable[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
    """Fewer and larger batches: a file of many small ones is slow to open."""
    held: list[pyarrow.RecordBatch] = []
    size = 0
    for part in parts:
        held.append(part)
        size += part.nbytes
        if size >= _PART:
            yield pyarrow.concat_batches(held)
            held, size = [], 0
    if held:
        yield pyarrow.concat_batches(held)


def _from_csv(path: str, columns: Columns, target: Path, delimiter: str) -> None:
    quoted = delimiter == ","  # tab-separated files have no quoting, as GLUE's and Conceptual Captions' have none
    invalid = 0

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        nonlocal invalid
        invalid += 1
        return "skip"

    with fsspec.open(path, "rb") as file:
        header = file.readline().decode("utf-8-sig").rstrip("\r\n").split(delimiter)
        chosen = _chosen(columns, [name.strip('"') if quoted else name for name in header], path)
        file.seek(0)
        parse = dict(delimiter=delimiter, newlines_in_values=quoted, quote_char='"' if quoted else False)
        source = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=2 * _PART),
            parse_options=pyarrow.csv.ParseOptions(**parse, invalid_row_handler=skip),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pyarrow.binary() for name in chosen.values()}, include_columns=list(chosen.values())
            ),
        )
        schema = pyarrow.schema([(ours, pyarrow.string()) for ours in chosen])
        with progress(f"preparing {path}", None) as advance:
            write_table(target, schema, (_decoded(batch, schema, advance) for batch in source))
    if invalid:
        print_log(f"{path}: {invalid} rows with another number of columns are left out", "current")


def _decoded(batch: pyarrow.RecordBatch, schema: pyarrow.Schema, advance: Callable[[int], None]) -> pyarrow.RecordBatch:
    advance(len(batch))
    return pyarrow.record_batch([_as_strings(column) for column in batch.columns], schema=schema)


def _as_strings(column: pyarrow.Array) -> pyarrow.Array:
    try:
        return column.cast(pyarrow.string())
    except pyarrow.ArrowInvalid:
        return pyarrow.array([_decode(value) for value in column.to_pylist()], pyarrow.string())


def _decode(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _from_json(path: str, columns: Columns, target: Path) -> None:
    with fsspec.open(path, "rb") as file:
        try:
            rows = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} should hold a list of rows")
    _write_rows(path, columns, target, iter(rows), len(rows))


def _from_jsonl(path: str, columns: Columns, target: Path) -> None:
    with fsspec.open(path, "rb") as file:
        _write_rows(path, columns, target, (_parsed(line) for line in file if line.strip()), None)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _write_rows(path: str, columns: Columns, target: Path, rows: Iterator[Any], total: int | None) -> None:
    schema = pyarrow.schema([(ours, pyarrow.list_(pyarrow.string())) for ours in columns])
    head = list(islice(rows, 1))
    chosen = {ours: names[0] for ours, names in columns.items()}
    if head and isinstance(head[0], dict):
        chosen = _chosen(columns, list(head[0]), path)

    names = list(chosen.values())
    cells = (
        tuple(_strings(row.get(name)) for name in names) if isinstance(row, dict) else (None,) * len(names)
        for row in chain(head, rows)
    )

    def parts(advance: Callable[[int], None]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches(cells, schema):
            advance(len(batch))
            yield batch

    with progress(f"preparing {path}", total) as advance:
        write_table(target, schema, parts(advance))


def _strings(value: Any) -> list[str | None] | None:
    """A string or a list of them as a list; null for what is neither, and for what UTF-8 cannot hold."""
    if isinstance(value, list):
        return [item if _is_text(item) else None for item in value]
    return [value] if _is_text(value) else None


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False


_CONVERTERS: dict[str, Callable[[str, Columns, Path], None]] = {
    ".parquet": _from_parquet,
    ".csv": partial(_from_csv, delimiter=","),
    ".tsv": partial(_from_csv, delimiter="\t"),
    ".json": _from_json,
    ".jsonl": _from_jsonl,
}
