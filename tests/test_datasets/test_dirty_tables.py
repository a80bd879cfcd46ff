"""Tables as people have them: other encodings, quotes left open, odd types, damaged files, names like patterns."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from helpers.data import write_images
from helpers.forms import files_below

from momo.datasets import ImageText, TextCorpus, TooManyBroken
from momo.datasets.tables import find, open_table

TEXT = {"text": ["text"]}


def texts(path: Path, content: str | bytes) -> list[Any]:
    """What a table holds that is written so."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = open_table(str(path), TEXT)
    return [table.cell("text", row) for row in range(len(table))]


def parquet(path: Path, **columns: Any) -> str:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=1000)
    return str(path)


def test_headers_of_csv_are_read_as_csv(tmp_path: Path) -> None:
    assert texts(tmp_path / "comma.csv", '"id, number",text\n1,hello\n') == ["hello"]
    assert texts(tmp_path / "line.csv", '"id\nnumber",text\n1,hello\n') == ["hello"]
    assert texts(tmp_path / "latin.csv", "text,caf\xe9\nhello,1\n".encode("latin1")) == ["hello"]
    assert texts(tmp_path / "CRLF.CSV", "\ufefftext,x\r\nhello,1\r\n") == ["hello"]
    with pytest.raises(ValueError, match=r"wide\.csv is not UTF-8, but UTF-16 perhaps: save it as UTF-8"):
        texts(tmp_path / "wide.csv", "text,x\na,1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"open\.csv has no first line with the names of its columns: field larger"):
        texts(tmp_path / "open.csv", '"text,x\n' + "a,1\n" * 50_000)
    with pytest.raises(ValueError, match=r"empty\.csv has no column 'text'; it has \[\]"):
        texts(tmp_path / "empty.csv", "")
    with pytest.raises(ValueError, match=r"line\.csv cannot be read, it is damaged or of another form: .*Empty CSV"):
        texts(tmp_path / "line.csv", "text,x")


def test_lines_that_a_csv_loses_are_counted(tmp_path: Path) -> None:
    """An open quote takes in all that follows: a file that is lost like that must not look like a short one."""
    lines = "".join(f"line {number},1\n" for number in range(20))
    found = texts(tmp_path / "open.csv", f'text,x\nfirst,1\n"second,1\n{lines}')
    assert found == ["first"] + [None] * 21
    dataset = TextCorpus(str(tmp_path / "open.csv"), [])
    with pytest.raises(TooManyBroken, match=r"11 of \d+ reads failed.*bad text"):
        [dataset[index] for index in range(len(dataset))]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = Path(parquet(tmp_path / "whole.parquet", text=[f"text {n} " * 9 for n in range(5000)])).read_bytes()
    damaged = whole[:2000] + b"\xff" * 1000 + whole[3000:]
    for name, content in {"cut": whole[:-20], "none": b"", "page": b"<html>" * 9, "bits": damaged}.items():
        with pytest.raises(ValueError, match=rf"{name}\.parquet cannot be read, it is damaged or of another form: "):
            texts(tmp_path / f"{name}.parquet", content)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(ValueError, match=r"deep\.json is not valid JSON"):
        texts(tmp_path / "deep.json", "[" * 100_000)


def test_types_of_parquet(tmp_path: Path) -> None:
    kinds = pyarrow.array([f"kind {row // 700}" for row in range(5000)])
    path = parquet(tmp_path / "category.parquet", text=kinds.dictionary_encode())  # another dictionary a row group
    table = open_table(path, TEXT)
    assert [table.cell("text", row) for row in range(5000)] == kinds.to_pylist()
    dataset = TextCorpus(parquet(tmp_path / "bytes.parquet", text=[b"caf\xc3\xa9", b"caf\xe9", None]), [])
    assert dataset.read(0)["text"] == "caf\u00e9"
    assert {dataset[row]["text"] for row in range(3)} == {"caf\u00e9"}
    assert dataset.broken.counts() == {"bad text": 2}
    large = TextCorpus(parquet(tmp_path / "large.parquet", text=pyarrow.array(["a"], pyarrow.large_string())), [])
    assert large[0]["text"] == "a"


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Neither is the right one."""
    columns = [pyarrow.array(["a"]), pyarrow.array(["b"])]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet has several columns 'text': rename all but one"):
        open_table(str(tmp_path / "a.parquet"), TEXT)
    with pytest.raises(ValueError, match=r"b\.csv has several columns 'text'"):
        texts(tmp_path / "b.csv", "text,text\na,b\n")


def test_images_as_plain_bytes(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 3, size=9)
    data = list(files_below(tmp_path / "images").values())
    path = parquet(tmp_path / "a.parquet", image=data, caption=["a", "b", "c"])
    dataset = ImageText(path, str(tmp_path), [dict(type="LoadImage")])
    assert [tuple(dataset[row]["image"].shape) for row in range(3)] == [(3, 9, 9)] * 3
    assert len({dataset[row]["image_id"] for row in range(3)}) == 3


def test_a_broken_first_line_of_json_costs_that_line_only(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.jsonl", '{"te\n{"text": "a"}\n') == [None, ["a"]]
    assert texts(tmp_path / "b.jsonl", '{"id": 1}\n{"text": "a"}\n') == [None, ["a"]]
    assert texts(tmp_path / "c.jsonl", '{"text": "a"}\n' + "[" * 100_000 + '\n{"text": "b"}') == [["a"], None, ["b"]]
    assert texts(tmp_path / "d.jsonl", b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "caf\xe9"}\r\n') == [["a"], None]


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    """A file is itself first, and then a pattern."""
    for name in ("n [1] *.csv", "n 1 x.csv", "a::b.csv", "line\nfeed \u732b.csv"):
        assert texts(tmp_path / name, f'text\n"{name}"\n') == [name]
    assert find(str(tmp_path / "n [1] *.csv"), "files", "") == [str(tmp_path / "n [1] *.csv")]
    assert find(str(tmp_path / "n *.csv"), "files", "") == [str(tmp_path / "n 1 x.csv"), str(tmp_path / "n [1] *.csv")]
    dataset = TextCorpus([str(tmp_path / "n [1] *.csv"), str(tmp_path / "a::b.csv")], [])
    assert [dataset[row]["text"] for row in range(2)] == ["n [1] *.csv", "a::b.csv"]


def test_byte_order_marks_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello\r\nworld\r\n")
    dataset = TextCorpus(str(tmp_path / "a.txt"), [])
    assert [dataset[row]["text"] for row in range(2)] == ["hello", "world"]
