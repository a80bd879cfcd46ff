"""Rows of tables of every kind, entered anywhere; and lines of text files."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers.forms import write_saved_dataset

from momo.datasets import ImageText, TextCorpus
from momo.datasets.tables import Rows, find, open_table
from momo.datasets.text_corpus import TextLines

TEXT = {"text": ["text", "body"]}


def column(path: Path, columns: dict = TEXT) -> list:
    table = open_table(str(path), columns)
    return [table.cell("text", row) for row in range(len(table))]


def test_the_first_name_that_is_there_counts(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"body": ["a"], "x": [1]}), tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"body": ["a"], "text": ["b"]}), tmp_path / "b.parquet")
    assert column(tmp_path / "a.parquet") == ["a"] and column(tmp_path / "b.parquet") == ["b"]
    with pytest.raises(ValueError, match=r"a.parquet has no column 'y' or 'z'; it has \['body', 'x'\]"):
        open_table(str(tmp_path / "a.parquet"), {"text": ["y", "z"]})
    assert open_table(str(tmp_path / "a.parquet"), {"text": ["x"]}).cell("text", 0) == 1  # another choice, another file


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "arrow"])
def test_missing_columns_are_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    content = {
        "csv": '"x",y\n1,2\n',
        "tsv": "x\ty\n1\t2\n",
        "json": '[{"x": 1, "y": 2}]',
        "jsonl": '{"x": 1, "y": 2}\n',
    }
    if ending == "arrow":
        table = pyarrow.table({"x": [1], "y": [2]})
        with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text(content[ending])
    with pytest.raises(ValueError, match=rf"a.{ending} has no column 'text' or 'body'; it has \['x', 'y'\]"):
        column(path)


def test_csv_has_quotes_and_tsv_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        '\ufeffid,text\r\n1,"two\nlines, ""quoted"""\r\n2,\r\n3,NULL\r\nshort\r\n4,a,b\r\n5,last'.encode()
    )
    # Lines with another number of columns are null, at the end.
    assert column(tmp_path / "a.csv") == ['two\nlines, "quoted"', "", "NULL", "last", None, None]
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"half\n2\tit\'s, "so"\n3\ta\tb\n')
    assert column(tmp_path / "a.tsv") == ['"half', 'it\'s, "so"', None]


def test_csv_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momo.datasets.to_arrow._PART", 100)
    rows = [f'{number},"text, {number}\n{"x" * (number % 50)}"' for number in range(300)]
    (tmp_path / "a.csv").write_text("id,text\n" + "\n".join(rows))
    assert column(tmp_path / "a.csv") == [f"text, {number}\n{'x' * (number % 50)}" for number in range(300)]


def test_parquet_becomes_few_large_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("momo.datasets.to_arrow._ROWS", 10)
    texts = [f"text {number}" for number in range(1000)]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet", row_group_size=33)
    table = open_table(str(tmp_path / "a.parquet"), TEXT)
    assert [table.cell("text", row) for row in range(1000)] == texts
    assert table.mapped.table["text"].num_chunks == 1


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_values_of_other_kinds_are_null(tmp_path: Path, name: str) -> None:
    values = ["one", ["two", 3, None], 4, None, {"x": 1}, "\ud800", True]
    rows = [*({"text": value} for value in values), {}, "row", [1]]
    dumped = list(map(json.dumps, rows))
    (tmp_path / name).write_text("\n".join([*dumped, "{cut"]) if name == "a.jsonl" else f"[{','.join(dumped)}]")
    expected = [["one"], ["two", None, None], *[None] * (8 + (name == "a.jsonl"))]
    assert column(tmp_path / name) == expected


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(ValueError, match=r"a.json is not valid JSON"):
        column(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"text": "x"}')
    with pytest.raises(ValueError, match=r"b.json should hold a list of rows"):
        column(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"a.xml: a table ends in .arrow, .parquet, .csv, .tsv, .json, .jsonl"):
        open_table(str(tmp_path / "a.xml"), TEXT)
    (tmp_path / "a.parquet").write_text("<html>")
    with pytest.raises(ValueError, match="arquet"):
        column(tmp_path / "a.parquet")


def test_saved_datasets(tmp_path: Path) -> None:
    folder = write_saved_dataset(tmp_path / "saved", pyarrow.table({"text": list("abcde")}))
    files = find(str(folder), "files", "x")
    assert [Path(path).name for path in files] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    rows = Rows((path, open_table(path, TEXT)) for path in files)
    assert [rows.cell("text", row) for row in range(len(rows))] == list("abcde")
    assert [rows.name(row) for row in (2, 3)] == [f"{files[0]}:2", f"{files[1]}:0"]
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    with pytest.raises(ValueError, match="holds several splits: name the folder of one, train or validation"):
        find(str(tmp_path), "files", "x")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ValueError, match=r"plain is a folder without state.json: name files in it"):
        find(str(tmp_path / "plain"), "files", "x")
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../../elsewhere.arrow"}]}')
    assert find(str(folder), "files", "x") == [str(folder / "elsewhere.arrow")]  # never outside of it


def test_several_files_are_one_dataset(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jsonl").write_text(
            "".join(f'{{"image": "{number}{row}.png", "caption": "{number}{row}"}}\n' for row in range(number + 1))
        )
    dataset = ImageText([f"{tmp_path}/[12].jsonl", f"{tmp_path}/0.jsonl"], str(tmp_path), [])
    assert [dataset.read(row)["text"] for row in range(6)] == ["10", "11", "20", "21", "22", "00"]


def test_columns_by_other_names(tmp_path: Path) -> None:
    table = pyarrow.table({"file_name": ["a.png"], "text": ["x"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    dataset = ImageText(str(tmp_path / "a.parquet"), str(tmp_path), [], image="file_name", caption="text")
    sample = dataset.read(0)
    assert (sample["image_path"], sample["text"]) == (f"{tmp_path}/a.png", "x")
    with pytest.raises(ValueError, match="has no column 'image'"):
        ImageText(str(tmp_path / "a.parquet"), str(tmp_path), [])


def test_images_in_rows_without_bytes_are_references(tmp_path: Path) -> None:
    images = [{"bytes": None, "path": "a.png"}, {"bytes": b"x", "path": None}, {"bytes": None, "path": None}]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "caption": ["x"] * 3}), tmp_path / "a.parquet")
    dataset = ImageText(str(tmp_path / "a.parquet"), str(tmp_path), [])
    assert dataset.read(0)["image_path"] == f"{tmp_path}/a.png"
    assert dataset.read(1)["image_bytes"] == b"x"
    with pytest.raises(ValueError, match="the image is None, not a string"):
        dataset.read(2)


def test_lines_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the file is cut into blocks, the lines are Python's own."""
    rng = np.random.default_rng(0)
    alphabet = np.array([*"ab é獅", " ", "\t", "\n", "\n", "\r\n"])
    for number in range(20):
        text = "".join(rng.choice(alphabet, int(rng.integers(0, 200))))
        path = tmp_path / f"{number}.txt"
        path.write_bytes(text.encode())
        monkeypatch.setattr("momo.datasets.text_corpus._BLOCK", int(rng.integers(1, 60)))
        lines = TextLines(str(path))
        expected = [line.decode().strip() for line in text.encode().split(b"\n") if line.strip()]
        assert [lines.cell("text", row) for row in range(len(lines))] == expected


def test_a_corpus_keeps_no_text_in_memory(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["word " * 200] * 20_000}), tmp_path / "a.parquet")
    TextCorpus(str(tmp_path / "a.parquet"), [])
    before = pyarrow.total_allocated_bytes()
    dataset = TextCorpus(str(tmp_path / "a.parquet"), [])
    assert dataset.read(19_999)["text"] == "word " * 200
    assert pyarrow.total_allocated_bytes() - before < 100_000
