"""The importer of pairs around the formats: restarts, order, mistakes in files and on the command line."""

import zlib
from pathlib import Path
from typing import Any

import pytest
from helpers.importing import COCO, import_pairs, picture, run_import, write
from importers.common import flickr_id, names
from importers.steps import look_at


def test_images_without_captions_are_listed_for_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COCO_val2014_000000000042.jpg", "sub/other.png", "COCO_test2015_000000000007.jpg"):
        write(tmp_path / "held_out" / name, picture(5, 4, "PNG"))
    write(tmp_path / "held_out" / "notes.txt", "no image")
    args = ("--source", "coco", "--root", tmp_path, "--out", tmp_path / "held_out.parquet")
    rows = run_import(monkeypatch, "images", tmp_path / "held_out", *args)
    assert [(row["id"], row["captions"]) for row in rows] == [("7", []), ("42", []), ("sub/other.png", [])]
    assert rows[2]["image"] == "held_out/sub/other.png"
    write(tmp_path / "held_out" / "sub" / "new.png", picture(5, 5))  # a change that the folder's own time does not show
    assert len(run_import(monkeypatch, "images", tmp_path / "held_out", *args)) == 4


def test_missing_images_are_looked_for_again_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "table.csv", "image,caption\na.png,sun\nb.png,moon\n")
    write(tmp_path / "images" / "a.png", picture(3, 2, "PNG"))
    args = ("table", table, "--images", tmp_path / "images", "--out", tmp_path / "own.parquet")
    assert len(run_import(monkeypatch, *args)) == 1
    write(tmp_path / "images" / "b.png", picture(3, 3, "PNG"))
    assert len(run_import(monkeypatch, *args)) == 1  # the shard is done
    assert len(run_import(monkeypatch, *args, "--retry")) == 2


def test_many_images_are_imported_in_order_by_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["image,caption", *(f"{number}.png,caption {number}" for number in range(23))]
    table = write(tmp_path / "table.csv", "\n".join(lines))
    for number in range(23):
        write(tmp_path / "images" / f"{number}.png", picture(number + 1, 1, "PNG"))
    monkeypatch.setattr(import_pairs, "ROWS", 5)
    rows = run_import(monkeypatch, "table", table, "--images", tmp_path / "images", "--out", tmp_path / "own.parquet")
    assert [(row["width"], row["captions"]) for row in rows] == [(n + 1, [f"caption {n}"]) for n in range(23)]
    assert len(list((tmp_path / "own.parts" / "rows").glob("*.parquet"))) == 5


def test_what_is_not_in_the_published_form_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(form: str, content: Any) -> str:
        notes = write(tmp_path / "notes.json", content)
        with pytest.raises(SystemExit) as error:
            run_import(monkeypatch, form, notes, "--images", tmp_path, "--out", tmp_path / "out.parquet")
        return str(error.value)

    assert "notes.json is not COCO's captions" in refused("coco", "{")
    assert "notes.json, top level: 'annotations' should be of type list, got None" in refused("coco", {"images": []})
    broken = {**COCO, "annotations": [{"image_id": 1, "caption": 7}]}
    assert "notes.json, annotation 0: 'caption' should be of type str, got 7" in refused("coco", broken)
    assert "image 0: 'split' should be of type str" in refused("karpathy", {"images": [{"filename": "a.jpg"}]})
    assert "'annotations' should be of type list" in refused("redcaps", [])
    with pytest.raises(SystemExit, match="no image could be used"):
        notes = write(tmp_path / "notes.json", COCO)
        run_import(monkeypatch, "coco", notes, "--images", tmp_path, "--out", tmp_path / "out.parquet")
    with pytest.raises(SystemExit, match=r"the images, .*elsewhere, must lie below --root /"):
        args = ("--images", tmp_path / "elsewhere", "--root", tmp_path / "data", "--out", tmp_path / "out.parquet")
        run_import(monkeypatch, "coco", notes, *args)
    assert import_pairs.prefix("s3://bucket/data/coco", "s3://bucket/data/") == "coco"


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg", "8119368305"),
        ("http://static.flickr.com/2723/4385058960_b0f291553e.jpg", "4385058960"),
        ("https://live.staticflickr.com/1/22_ab12.png", "22"),
        ("https://i.redd.it/8119368305_4e622c8349.jpg", None),
        ("http://notflickr.com/8119368305_4e.jpg", None),
        (None, None),
    ],
)
def test_a_photo_at_flickr_is_known_by_its_number(url: str | None, number: str | None) -> None:
    assert flickr_id(url) == number


def test_names_with_spaces_stay_one_name() -> None:
    """Or 'IMG 1.jpg' of one set would be known as '1.jpg', which another set has too, and be dropped for it."""
    assert names("IMG 1.jpg", flickr=3, coco=None) == "IMG%201.jpg flickr:3"
    assert names(7) == "7"


def test_a_bomb_is_known_by_its_header() -> None:
    size = (60_000).to_bytes(4, "big")
    chunk = b"IHDR" + size + size + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\r" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + b"\x00\x00\x00\x10IDAT"
    assert look_at(bomb) == {"problem": "too large"}
    assert look_at(picture(3, 2)[:15]) == {"problem": "truncated"}
    assert look_at(b"<html>") == {"problem": "not an image"} and look_at(b"") == {"problem": "empty"}
