"""Published lists as downloads leave them: other line ends, marks, encodings, addresses that are none."""

import zlib
from pathlib import Path

import pytest
from helpers.importing import COCO, picture, problems, run_import, write

URL = "http://a.org/IMG.JPG?x=1"


def conceptual(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, *args: object) -> list[tuple]:
    notes = write(folder / "Train_GCC-training.tsv", content)
    images, out = folder / "images", folder / "cc.parquet"
    rows = run_import(monkeypatch, "conceptual", notes, "--images", images, "--out", out, *args)
    return [(row["id"], row["captions"]) for row in rows]


@pytest.mark.parametrize("header", [b"", b"caption\turl\r\n"])
def test_lists_from_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes) -> None:
    """A carriage return is no part of an address: with it, not one image would be found."""
    write(tmp_path / "images" / str(zlib.crc32(URL.encode())), picture(3, 3))
    content = b"\xef\xbb\xbf" + header + f"a cat\t{URL}\r\n".encode()
    assert conceptual(tmp_path, monkeypatch, content) == [("0", ["a cat"])]


def test_a_line_that_is_not_utf8_costs_that_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "images" / str(zlib.crc32(URL.encode())), picture(3, 3))
    lines = ["caf\u00e9\thttp://a.org/1.jpg", "no\0text\thttp://a.org/2.jpg", "a cat\thttp://a.org/caf\u00e9.jpg"]
    content = "\n".join([*lines, f"a dog\t{URL}"]).encode("latin1")
    assert conceptual(tmp_path, monkeypatch, content) == [("3", ["a dog"])]
    assert [line[1:] for line in problems(tmp_path / "cc.parquet")] == [
        ["0", "no caption"],
        ["1", "no caption"],
        ["2", "missing"],
    ]


def test_addresses_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["http://[a.org/1.jpg", "http://a.org", "http://a.org/x/2.jpg#top", "https://a.org/" + "n" * 400]
    write(tmp_path / "images" / "2.jpg", picture(3, 3))
    content = "".join(f"a cat\t{url}\n" for url in urls).encode()
    assert conceptual(tmp_path, monkeypatch, content, "--file-name", "{name}") == [("2", ["a cat"])]
    reasons = [line[2].partition(":")[0] for line in problems(tmp_path / "cc.parquet")]
    assert reasons == ["missing", "cannot be read", "cannot be read"]  # a folder; a name that is too long
    sbu = write(tmp_path / "sbu.json", {"image_urls": ["http://a.org/2.jpg", None], "captions": ["a", "b"]})
    with pytest.raises(SystemExit, match=r"sbu\.json, row 1: the address is None, not a string"):
        run_import(monkeypatch, "sbu", sbu, "--images", tmp_path / "images", "--out", tmp_path / "sbu.parquet")


@pytest.mark.parametrize("template", ["{id}.jpg", "{row", "{}", "{row.real.x}"])
def test_a_wrong_file_name_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, template: str
) -> None:
    with pytest.raises(SystemExit):
        conceptual(tmp_path, monkeypatch, b"", "--file-name", template)
    assert "has other fields than row, name and crc32" in capsys.readouterr().err


def test_half_characters_and_marks_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = [{"image_id": own, "subreddit": "cats", "caption": text, "url": ""} for own, text in
             [("a", "\ud83d"), ("b\ud83d", "x"), ("c", "a cat"), ("d", "\0")]]  # fmt: skip
    write(tmp_path / "images" / "cats" / "c.jpg", picture(3, 3))
    path = write(tmp_path / "cats_2019.json", {"annotations": notes})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    out = tmp_path / "redcaps.parquet"
    (row,) = run_import(monkeypatch, "redcaps", path, "--images", tmp_path / "images", "--out", out)
    assert (row["id"], row["captions"]) == ("c", ["a cat"])
    assert [line[1:] for line in problems(out)] == [["a", "no caption"], ["b?", "missing"], ["d", "no caption"]]
    write(path, "[" * 100_000)
    with pytest.raises(SystemExit, match=r"cats_2019\.json is not RedCaps' annotations"):
        run_import(monkeypatch, "redcaps", path, "--images", tmp_path / "images", "--out", out)


def test_quotes_mean_nothing_in_a_tsv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the reader of tables: one at the beginning of a caption would take in all lines up to the next."""
    write(tmp_path / "images" / "a.png", picture(3, 2, "PNG"))
    table = write(tmp_path / "table.TSV", 'image\tcaption\r\na.png\t"sun\r\na.png\t6" nail\r\n')
    (row,) = run_import(monkeypatch, "table", table, "--images", tmp_path / "images", "--out", tmp_path / "own.parquet")
    assert row["captions"] == ['"sun', '6" nail']


def test_visual_genome_without_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "image_data.json", [{"image_id": 1, "url": "https://a.org/VG_100K/1.jpg", "height": 3}])
    notes = write(tmp_path / "region_descriptions.json", [{"id": 1, "regions": []}])
    with pytest.raises(SystemExit, match=r"image_data\.json, image 0: 'width' should be of type int, got None"):
        run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--out", tmp_path / "vg.parquet")


def test_files_with_names_like_patterns_and_beyond_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "000000391895.jpg"
    write(tmp_path / "images [v2]" / name, picture(16, 8))
    notes = write(tmp_path / "notes [1].json", COCO)
    write(tmp_path / "notes 1.json", "{")
    rows = run_import(monkeypatch, "coco", notes, "--images", tmp_path / "images [v2]", "--out", tmp_path / "a.parquet")
    assert [row["image"] for row in rows] == [name]
    (tmp_path / "images [v2]" / b"caf\xe9.png".decode("utf-8", "surrogateescape")).write_bytes(picture(3, 3, "PNG"))
    rows = run_import(monkeypatch, "images", tmp_path / "images [v2]", "--out", tmp_path / "b.parquet")
    assert [row["image"] for row in rows] == [name] and problems(tmp_path / "b.parquet")[0][2] == "missing"
