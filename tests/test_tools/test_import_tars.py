"""The importer of img2dataset's tars: where each image lies, what is no pair and why, and nothing unpacked."""

import hashlib
import json
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from helpers.forms import write_tar
from helpers.importing import picture, problems, report, run_import

from momo.datasets.manifest import parse_reference
from momo.datasets.storage import read_bytes, resolve


def test_img2dataset_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(11, 7)
    about = {"url": "http://a.org/1.jpg", "key": "000000001", "caption": "the sea", "status": "success"}
    members = {
        "000000001.jpg": data,
        "000000001.txt": b"the sea",
        "000000001.json": json.dumps(about).encode(),
        "000000002.txt": b"no picture",
        "000000003.jpg": picture(3, 3),
        "000000003.txt": b" ",
        "deep/000000004.PNG": picture(4, 4, "PNG"),
        "deep/000000004.json": b'{"caption": "from json"}',
    }
    tar = write_tar(tmp_path / "data" / "cc3m" / "00000.tar", members)
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    columns = {
        "key": ["000000001", "000000000"],
        "url": ["http://a.org/1.jpg", "http://a.org/0.jpg"],
        "status": ["success", "failed_to_download"],
        "error_message": [None, "HTTP Error 404: Not Found"],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tar.with_suffix(".parquet"))
    out = tmp_path / "cc3m.parquet"
    args = ("--source", "cc3m", "--root", tmp_path / "data", "--out", out)
    rows = run_import(monkeypatch, "webdataset", tmp_path / "data" / "cc3m" / "*.tar", *args)
    assert [(row["captions"], row["id"], row["width"]) for row in rows] == [
        (["the sea"], "000000001", 11),
        (["from json"], "deep/000000004", 4),
    ]
    reference = parse_reference(rows[0]["image"])
    assert reference.path == "cc3m/00000.tar" and rows[0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert read_bytes(*resolve(str(tmp_path / "data"), str(reference))) == data
    assert read_bytes(*resolve(f"file://{tmp_path}/data", str(reference))) == data
    with pytest.raises(OSError, match="nowhere"):
        read_bytes(*resolve(str(tmp_path), "nowhere.tar#1+2"))
    found = problems(out)
    assert [line[1:] for line in found] == [
        ["000000003", "no caption"],
        ["000000000", "not downloaded: HTTP Error 404: Not Found"],
    ]
    assert report(out)["problems"] == {"no caption": 1, "not downloaded": 1}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".PNG")]  # nothing was unpacked
    tar.write_bytes(tar.read_bytes()[:1000])
    with pytest.raises(SystemExit, match=r"1 of 1 shards failed(.|\n)*00000\.tar is no tar, damaged"):
        run_import(monkeypatch, "webdataset", tar, *args)


def test_what_is_wrong_with_a_member_costs_that_pair_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        "1.jpg": picture(1, 1),
        "1.json": b"{",
        "2.jpg": picture(2, 1),
        "2.json": b"[" * 100_000,
        "3.jpg": picture(3, 1),
        "3.json": b"[1]",
        "4.jpg": picture(4, 1),
        "4.txt": "caf\u00e9".encode("latin1"),
        "5.jpg": picture(5, 1)[:20],
        "5.txt": b"cut off",
        "6.txt": b"\xef\xbb\xbfapart from its image\r\n",
        "7.jpg": picture(7, 1),
        "7.json": b'\xef\xbb\xbf{"caption": "\\ud83d half a character"}',
        "8.jpg": b"",
        "8.txt": b"empty",
        "9.jpg": picture(9, 1),
        "9.json": b'{"caption": 9}',
        "6.jpg": picture(6, 1),
    }
    tar = write_tar(tmp_path / "a.tar", members)
    pyarrow.parquet.write_table(pyarrow.table({"other": [1]}), tar.with_suffix(".parquet"))  # not img2dataset's
    (row,) = run_import(monkeypatch, "webdataset", tar, "--out", tmp_path / "out.parquet")
    assert (row["id"], row["captions"], row["width"]) == ("6", ["apart from its image"], 6)
    assert [(line[1], line[2]) for line in problems(tmp_path / "out.parquet")] == [
        ("1", "no caption"),
        ("2", "no caption"),
        ("3", "no caption"),
        ("4", "no caption"),
        ("5", "truncated"),
        ("7", "no caption"),
        ("8", "empty"),
        ("9", "no caption"),
    ]
