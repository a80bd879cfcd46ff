"""Importers: each on a small file in the form that its publisher gives it; nothing is left out in silence."""

import hashlib
import zlib
from pathlib import Path
from typing import Any

import pytest
from helpers.importing import COCO, picture, problems, report, run_import, write


def test_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = write(tmp_path / "coco" / "annotations" / "captions_train2017.json", COCO)
    data = picture(16, 8)
    write(tmp_path / "coco" / "train2017" / "000000391895.jpg", data)
    write(tmp_path / "coco" / "train2017" / "000000522418.jpg", b"<html>gone</html>")
    out = tmp_path / "coco.parquet"
    rows = run_import(
        monkeypatch, "coco", notes, "--images", tmp_path / "coco/train2017", "--root", tmp_path, "--out", out
    )
    assert rows == [
        {
            "image": "coco/train2017/000000391895.jpg",
            "captions": ["A man with a red helmet on a small moped.", "Man riding a motor bike on a dirt road."],
            "source": "coco",
            "id": "391895 flickr:8119368305",
            "width": 16,
            "height": 8,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    ]
    assert problems(out) == [
        ["coco/train2017/000000522418.jpg", "522418", "not an image"],
        ["coco/train2017/000000184613.jpg", "184613", "missing"],
    ]
    found = report(out)
    assert (found["images"], found["captions"], found["rows"]) == (1, 2, 1)
    assert found["annotated"] == {"images": 3, "captions": 4}
    assert found["published"] == {"images": 118_287, "captions": 591_753}
    assert found["problems"] == {"missing": 1, "not an image": 1}


def test_karpathy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sentences(*texts: str) -> list[dict[str, Any]]:
        return [{"tokens": text.split(), "raw": text, "imgid": 0, "sentid": 1} for text in texts]

    rows = [("train", "train2014", 9), ("restval", "val2014", 42), ("test", "val2014", 73)]
    images = [
        {
            "filepath": folder,
            "sentids": [770337],
            "filename": f"COCO_{folder}_{number:012d}.jpg",
            "imgid": 0,
            "split": split,
            "sentences": sentences(*(f"caption {place} of {number}" for place in range(6))),
            "cocoid": number,
        }
        for split, folder, number in rows
    ]
    notes = write(tmp_path / "dataset_coco.json", {"images": images, "dataset": "coco"})
    for image in images:
        write(tmp_path / image["filepath"] / image["filename"], picture(image["cocoid"], 5))
    found = run_import(monkeypatch, "karpathy", notes, "--images", tmp_path, "--out", tmp_path / "train.parquet")
    assert [(row["id"], row["image"], len(row["captions"])) for row in found] == [
        ("9", "train2014/COCO_train2014_000000000009.jpg", 6),
        ("42", "val2014/COCO_val2014_000000000042.jpg", 6),
    ]
    assert report(tmp_path / "train.parquet")["published"] == {"images": 113_287, "captions": 566_747}
    args = ("--splits", "val", "test", "--out", tmp_path / "held_out.parquet")
    (row,) = run_import(monkeypatch, "karpathy", notes, "--images", tmp_path, *args)
    assert row["id"] == "73" and report(tmp_path / "held_out.parquet")["published"]["captions"] == 50_020

    flickr = {"sentids": [0], "imgid": 0, "sentences": sentences("Two men."), "split": "train", "filename": "10002.jpg"}
    notes = write(tmp_path / "flickr" / "dataset_flickr30k.json", {"images": [flickr], "dataset": "flickr30k"})
    write(tmp_path / "flickr" / "flickr30k-images" / "10002.jpg", picture(4, 4))
    args = ("--source", "flickr30k", "--out", tmp_path / "flickr.parquet")
    (row,) = run_import(monkeypatch, "karpathy", notes, "--images", tmp_path / "flickr" / "flickr30k-images", *args)
    assert (row["source"], row["id"], row["captions"]) == ("flickr30k", "10002 flickr:10002", ["Two men."])


def visual_genome(folder: Path) -> Path:
    about = [
        {
            "width": 20,
            "url": "https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg",
            "height": 10,
            "image_id": 1,
            "coco_id": 391895,
            "flickr_id": None,
        },
        {
            "width": 10,
            "url": "https://cs.stanford.edu/people/rak248/VG_100K/107899.jpg",
            "height": 10,
            "image_id": 107899,
            "coco_id": None,
            "flickr_id": 8119368305,
        },
    ]
    phrases = [("a cat sitting on a table.", 10, 10), ("A small cup ", 2, 2), ("a cat sitting on a table.", 3, 3)]
    regions = [
        {"region_id": place, "width": w, "height": h, "image_id": 1, "phrase": text, "y": 0, "x": 0}
        for place, (text, w, h) in enumerate(phrases)
    ]
    write(folder / "image_data.json", about)
    write(folder / "VG_100K_2" / "1.jpg", picture(20, 10))
    write(folder / "VG_100K" / "107899.jpg", picture(10, 10))
    other = [{"region_id": 9, "width": 5, "height": 5, "image_id": 107899, "phrase": "sky", "y": 0, "x": 0}]
    rows = [{"id": 1, "regions": regions}, {"image_id": 107899, "regions": other}]  # both spellings were published
    return write(folder / "region_descriptions.json", rows)


def test_visual_genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, out = visual_genome(tmp_path), tmp_path / "vg.parquet"
    rows = run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--out", out)
    assert [(row["image"], row["id"], row["captions"]) for row in rows] == [
        ("VG_100K_2/1.jpg", "1 coco:391895", ["a cat sitting on a table.", "A small cup"]),
        ("VG_100K/107899.jpg", "107899 flickr:8119368305", ["sky"]),
    ]
    assert report(out)["published"] == {"images": 108_077, "captions": 5_408_689}
    rows = run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--min-area", "0.3", "--out", out)
    assert [row["captions"] for row in rows] == [["a cat sitting on a table."]]  # half of the image, 2% and a quarter
    assert report(out)["problems"] == {"no caption": 1}
    rows = run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--split-captions", "--out", out)
    assert [(row["id"], row["captions"]) for row in rows] == [
        ("1 coco:391895", ["a cat sitting on a table."]),
        ("1 coco:391895", ["A small cup"]),
        ("107899 flickr:8119368305", ["sky"]),
    ]
    write(notes, [{"id": 7, "regions": []}])
    with pytest.raises(SystemExit, match=r"image 0: image 7 is not in .*image_data\.json"):
        run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--out", tmp_path / "new.parquet")
    (tmp_path / "image_data.json").unlink()
    with pytest.raises(SystemExit, match=r"image_data\.json is missing: unpack Visual Genome's image_data\.json"):
        run_import(monkeypatch, "visual_genome", notes, "--images", tmp_path, "--out", tmp_path / "new.parquet")


def test_sbu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["http://static.flickr.com/2723/4385058960_b0f291553e.jpg", "http://static.flickr.com/1/2_3a.jpg"]
    content = {"image_urls": urls, "user_ids": ["47889917@N08", "1@N0"], "captions": ["A wooden chair", "A hut"]}
    notes = write(tmp_path / "sbu-captions-all.json", content)
    write(tmp_path / "images" / "4385058960_b0f291553e.jpg", picture(6, 4))
    rows = run_import(monkeypatch, "sbu", notes, "--images", tmp_path / "images", "--out", tmp_path / "sbu.parquet")
    assert [(row["image"], row["captions"], row["id"]) for row in rows] == [
        ("4385058960_b0f291553e.jpg", ["A wooden chair"], "0 flickr:4385058960")
    ]
    assert problems(tmp_path / "sbu.parquet") == [["2_3a.jpg", "1 flickr:2", "missing"]]
    write(notes, {**content, "captions": ["one"]})
    with pytest.raises(SystemExit, match=r"has 2 image_urls and 1 captions: it is not whole"):
        run_import(monkeypatch, "sbu", notes, "--images", tmp_path / "images", "--out", tmp_path / "sbu.parquet")


@pytest.mark.parametrize("header", [False, True])
def test_conceptual_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bool) -> None:
    """3M has the caption first, 12M the address; quotes mean nothing; img2dataset wants a header."""
    url = "http://lh6.ggpht.com/-IvRtNLNcG8o/IMG_3422.JPG?imgmax=800"
    lines = [f'a very typical "bus station\t{url}', "sierra looked stunning\thttps://a.org/b.jpg"]
    three = write(tmp_path / "Train_GCC-training.tsv", "\n".join(["caption\turl"] * header + lines) + "\n")
    twelve = "\n".join(["url\tcaption"] * header + ["\t".join(reversed(line.split("\t"))) for line in lines])
    twelve = write(tmp_path / "cc12m.tsv", twelve + "\n")
    write(tmp_path / "training" / str(zlib.crc32(url.encode())), picture(7, 5, "PNG"))
    write(tmp_path / "numbered" / "000000001.jpg", picture(7, 6))
    images, out = tmp_path / "training", tmp_path / "cc.parquet"
    for notes in (three, twelve):
        (row,) = run_import(monkeypatch, "conceptual", notes, "--images", images, "--out", out)
        assert (row["id"], row["width"], row["captions"]) == ("0", 7, ['a very typical "bus station'])
        assert len(problems(out)) == 1
    assert report(out)["published"]["images"] == 12_423_374
    args = ("--images", tmp_path / "numbered", "--file-name", "{row:09d}.jpg", "--out", out)
    (row,) = run_import(monkeypatch, "conceptual", three, *args)
    assert (row["id"], row["height"], row["captions"]) == ("1", 6, ["sierra looked stunning"])
    write(three, "a caption without an address\n")
    with pytest.raises(SystemExit, match=r"training\.tsv, line 1: expected a caption, a tab and an address"):
        run_import(monkeypatch, "conceptual", three, "--images", images, "--out", out)


def test_redcaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(own: str, subreddit: str, caption: str) -> dict[str, Any]:
        return {
            "image_id": own,
            "author": "djasz1",
            "url": f"https://i.redd.it/{own}.jpg",
            "raw_caption": caption.title(),
            "caption": caption,
            "subreddit": subreddit,
            "score": 72,
            "created_utc": 1568238510,
            "permalink": f"/r/{subreddit}/comments/{own}/",
            "crosspost_parents": None,
        }

    info = {"start_date": "2019-01-01", "end_date": "2019-12-31", "url": "https://redcaps.xyz", "version": "1.0"}
    for subreddit, own in (("abandoned", "bpzj7r"), ("itookapicture", "d2xyz1")):
        notes = {"info": info, "annotations": [note(own, subreddit, f"{subreddit} thing"), note("x", subreddit, " ")]}
        write(tmp_path / "annotations" / f"{subreddit}_2019.json", notes)
        write(tmp_path / "images" / subreddit / f"{own}.jpg", picture(5, 5))
    out = tmp_path / "redcaps.parquet"
    rows = run_import(
        monkeypatch, "redcaps", tmp_path / "annotations" / "*.json", "--images", tmp_path / "images", "--out", out
    )
    assert [(row["image"], row["captions"], row["id"]) for row in rows] == [
        ("abandoned/bpzj7r.jpg", ["abandoned thing"], "bpzj7r"),
        ("itookapicture/d2xyz1.jpg", ["itookapicture thing"], "d2xyz1"),
    ]
    assert report(out)["problems"] == {"no caption": 2}
    assert report(out)["published"] == {"images": 12_011_121, "captions": 12_011_121}


def test_flickr30k_token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"1000092795.jpg#{place}\tTwo men , {place} ." for place in range(5)] + ["10002456.jpg#0\tA \tgroup"]
    notes = write(tmp_path / "results_20130124.token", "\n".join(lines) + "\n")
    for name in ("1000092795", "10002456"):
        write(tmp_path / "flickr30k-images" / f"{name}.jpg", picture(5, 5))
    out = tmp_path / "flickr.parquet"
    rows = run_import(monkeypatch, "flickr30k", notes, "--images", tmp_path / "flickr30k-images", "--out", out)
    assert [(row["id"], row["captions"][0], len(row["captions"])) for row in rows] == [
        ("1000092795 flickr:1000092795", "Two men , 0 .", 5),
        ("10002456 flickr:10002456", "A \tgroup", 1),
    ]
    assert report(out)["published"] == {"images": 31_783, "captions": 158_915}
    write(notes, "1000092795.jpg Two men\n")
    with pytest.raises(SystemExit, match=r"token, line 1: expected 'image\.jpg#0', a tab and a caption"):
        run_import(monkeypatch, "flickr30k", notes, "--images", tmp_path / "flickr30k-images", "--out", out)


def test_own_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        '\ufefffile,text,key\na.png,"red, and blue",k1\n../b.png,out,k2\nsub/c.png,moon,k3\na.png,again,k1\nd.png,,k4\n'
    )
    table = write(tmp_path / "table.csv", text)
    write(tmp_path / "images" / "a.png", picture(3, 2, "PNG"))
    write(tmp_path / "images" / "sub" / "c.png", b"")
    write(tmp_path / "b.png", picture(3, 3, "PNG"))
    columns = ("--image-column", "file", "--caption-column", "text", "--id-column", "key", "--source", "mine")
    out = tmp_path / "own.parquet"
    (row,) = run_import(monkeypatch, "table", table, "--images", tmp_path / "images", *columns, "--out", out)
    assert (row["captions"], row["id"], row["source"]) == (["red, and blue", "again"], "k1", "mine")
    assert problems(out) == [
        ["../b.png", "k2", f"'../b.png' does not lie below '{tmp_path / 'images'}'"],
        ["sub/c.png", "k3", "empty"],
        ["d.png", "k4", "no caption"],
    ]
    assert "published" not in report(out)
    tabs = write(tmp_path / "table.tsv", "image\tcaption\na.png\tsun\n")
    (row,) = run_import(monkeypatch, "table", tabs, "--images", tmp_path / "images", "--out", out)
    assert (row["captions"], row["id"]) == (["sun"], "a.png")
    with pytest.raises(SystemExit, match=r"table\.csv has no column 'image'; its first line has \['file'"):
        run_import(monkeypatch, "table", table, "--images", tmp_path / "images", "--out", out)
    write(tabs, "image\tcaption\n\tsun\n")
    with pytest.raises(SystemExit, match=r"table\.tsv, line 2: 'image' is empty"):
        run_import(monkeypatch, "table", tabs, "--images", tmp_path / "images", "--out", out)
