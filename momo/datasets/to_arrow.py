"""Tables of other forms, written as Arrow files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.csv
import pyarrow.parquet
from mmengine.logging import print_log

from .cache import progress, write_table
from .storage import open_binary
from .tar_index import batches

# By our name of a column, its names in files; the first that is there counts.
Columns = Mapping[str, Sequence[str]]
_PART = 32 * 2**20  # bytes of a record batch
_ROWS = 1024  # rows read at a time: images may be among the columns
_LOOKED_AT = 1000  # rows of JSON in which columns are looked for


def choose_columns(columns: Columns, present: Sequence[str], path: str) -> dict[str, str]:
    """Which of the names of each column a file has."""
    chosen = {}
    for ours, names in columns.items():
        found = [name for name in names if name in present]
        if not found:
            raise ValueError(f"{path} has no column {' or '.join(map(repr, names))}; it has {list(present)}")
        if list(present).count(found[0]) > 1:
            raise ValueError(f"{path} has several columns {found[0]!r}: rename all but one")
        chosen[ours] = found[0]
    return chosen


def _from_parquet(path: str, columns: Columns, target: Path) -> None:
    with open_binary(path) as file:
        source = pyarrow.parquet.ParquetFile(file)
        chosen = choose_columns(columns, source.schema_arrow.names, path)
        types = {ours: _plain(source.schema_arrow.field(theirs).type) for ours, theirs in chosen.items()}
        schema = pyarrow.schema(types.items())

        def parts(advance: Callable[[int], None]) -> Iterator[pyarrow.Table]:
            for batch in source.iter_batches(_ROWS, columns=list(chosen.values())):
                advance(len(batch))
                arrays = [batch.column(theirs).cast(types[ours]) for ours, theirs in chosen.items()]
                yield pyarrow.record_batch(arrays, schema=schema)

        with progress(f"preparing {path}", source.metadata.num_rows) as advance:
            write_table(target, schema, _grouped(parts(advance)))


def _plain(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The type of what a dictionary holds, as pandas writes categories: an Arrow file takes one dictionary a column."""
    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind


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
    lost = 0

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        nonlocal lost
        lost += 1 + row.text.count("\n")
        return "skip"

    with open_binary(path) as file:
        chosen = choose_columns(columns, _header(file, path, delimiter, quoted), path)
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

        def parts(advance: Callable[[int], None]) -> Iterator[pyarrow.RecordBatch]:
            yield from (_decoded(batch, schema, advance) for batch in source)
            # Null, like all that cannot be read, so that they are counted.
            yield pyarrow.record_batch([pyarrow.nulls(lost, pyarrow.string())] * len(schema), schema=schema)

        with progress(f"preparing {path}", None) as advance:
            write_table(target, schema, parts(advance))
    if lost:
        print_log(
            f"{path}: {lost} lines have another number of columns, or follow a quote that is not closed; they are "
            "kept as samples that cannot be read",
            "current",
        )


def _header(file: BinaryIO, path: str, delimiter: str, quoted: bool) -> list[str]:
    """The names of the columns; the file is where it was.

    Raises: ValueError naming the file if it is not UTF-8.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    try:
        names = next(csv.reader(text, delimiter=delimiter, quoting=quoting), [])
    except csv.Error as error:
        raise ValueError(f"{path} has no first line with the names of its columns: {error}") from error
    text.detach()
    file.seek(0)
    if any("\0" in name for name in names):
        raise ValueError(f"{path} is not UTF-8, but UTF-16 perhaps: save it as UTF-8")
    return names


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
    with open_binary(path) as file:
        try:
            rows = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"{path} should hold a list of rows")
    _write_rows(path, columns, target, iter(rows), len(rows))


def _from_jsonl(path: str, columns: Columns, target: Path) -> None:
    with open_binary(path) as file:
        _write_rows(path, columns, target, (_parsed(line) for line in file if line.strip()), None)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _write_rows(path: str, columns: Columns, target: Path, rows: Iterator[Any], total: int | None) -> None:
    schema = pyarrow.schema([(ours, pyarrow.list_(pyarrow.string())) for ours in columns])
    head = list(islice(rows, _LOOKED_AT))
    present = dict.fromkeys(name for row in head if isinstance(row, dict) for name in row)
    chosen = {ours: names[0] for ours, names in columns.items()}
    if present:
        chosen = choose_columns(columns, list(present), path)

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
        return [item if is_text(item) else None for item in value]
    return [value] if is_text(value) else None


def is_text(value: Any) -> bool:
    """Whether this is a string that UTF-8 can hold."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False


# By the ending of a file; each writes the wanted columns of the first path to the second.
CONVERTERS: dict[str, Callable[[str, Columns, Path], None]] = {
    ".parquet": _from_parquet,
    ".csv": partial(_from_csv, delimiter=","),
    ".tsv": partial(_from_csv, delimiter="\t"),
    ".json": _from_json,
    ".jsonl": _from_jsonl,
}
