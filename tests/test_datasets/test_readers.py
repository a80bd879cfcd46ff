"""Datasets: what they read, and what they say where something is missing."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from helpers.data import write_images
from PIL import Image
from torchvision.io import write_jpeg, write_png

from momo.datasets import BrokenSample, ImageFolder, ImageText, LoadImage, SampleKey, TextCorpus, TextTable
from momo.datasets.image_folder import SUFFIXES


def test_image_folder_finds_images_in_sub_folders_in_order(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 5)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / "even" / "LOUD.JPG").write_bytes((tmp_path / "photos" / "even" / "000.png").read_bytes())
    dataset = ImageFolder(str(tmp_path / "photos"), [dict(type="LoadImage")])
    names = [Path(dataset[index]["sample_id"]).name for index in range(len(dataset))]
    assert names == ["000.png", "002.png", "004.png", "LOUD.JPG", "001.png", "003.png"]
    sample = dataset[1]
    expected = np.random.default_rng(2).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    assert torch.equal(sample["image"], torch.from_numpy(expected))
    assert len({dataset[index]["image_id"] for index in range(6)}) == 6
    assert dataset.metainfo == {"dataset": "ImageFolder"}


def test_image_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root='/nowhere/train' does not exist; a folder of images"):
        ImageFolder("/nowhere/train", [])
    with pytest.raises(ValueError, match=r"root='.*' holds no file ending in \.jpg"):
        ImageFolder(str(tmp_path), [])


def test_images_become_rgb(tmp_path: Path) -> None:
    write_png(torch.full((1, 4, 6), 7, dtype=torch.uint8), str(tmp_path / "grey.png"))
    image = LoadImage()({"image_path": tmp_path / "grey.png"})["image"]
    assert image.shape == (3, 4, 6) and image.dtype == torch.uint8 and (image == 7).all()


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_jpeg(torch.zeros(3, 64, 64, dtype=torch.uint8), str(tmp_path / "cut.jpg"))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:200])
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.jpg", "page.jpg", "empty.png", "absent.png"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read as an image"):
            LoadImage()({"image_path": tmp_path / name})


def test_every_kind_of_image_that_a_folder_lists_can_be_read(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        Image.new("RGB", (6, 4), (7, 8, 9)).save(tmp_path / f"image{suffix}")
    dataset = ImageFolder(str(tmp_path), [dict(type="LoadImage")])
    assert [dataset[index]["image"].shape for index in range(len(SUFFIXES))] == [(3, 4, 6)] * len(SUFFIXES)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("palette.png", Image.new("P", (6, 4))),
        ("alpha.png", Image.new("RGBA", (6, 4))),
        ("bits.png", Image.new("1", (6, 4))),
        ("print.jpg", Image.new("CMYK", (6, 4))),
        pytest.param("16bit.png", Image.new("I;16", (6, 4))),
    ],
)
def test_unusual_images_become_rgb_bytes(tmp_path: Path, name: str, image: Image.Image) -> None:
    image.save(tmp_path / name)
    pixels = LoadImage()({"image_path": tmp_path / name})["image"]
    assert pixels.dtype == torch.uint8 and pixels.shape == (3, 4, 6)


def test_images_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # taken with the camera on its side
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert LoadImage()({"image_path": tmp_path / "turned.jpg"})["image"].shape == (3, 6, 4)


def texts(dataset: TextCorpus) -> list[str]:
    return [dataset.read(index)["text"] for index in range(len(dataset))]


def test_corpus_of_text_files(tmp_path: Path) -> None:
    """Lines without content are no documents; the last line may lack its end."""
    (tmp_path / "a.txt").write_bytes("erste Zeile\n\n   \nzweite – ü\r\nletzte".encode())
    (tmp_path / "b.txt").write_bytes(b"caf\xc3\xa9\n")
    (tmp_path / "empty.txt").write_bytes(b"")
    dataset = TextCorpus(str(tmp_path / "*.txt"), [])
    assert texts(dataset) == ["erste Zeile", "zweite – ü", "letzte", "café"]
    assert [dataset.read(index)["sample_id"] for index in (0, 3)] == [f"{tmp_path}/a.txt:0", f"{tmp_path}/b.txt:0"]
    assert texts(pickle.loads(pickle.dumps(dataset))) == texts(dataset)


def test_corpus_of_parquet_and_text_files_together(tmp_path: Path) -> None:
    table = pyarrow.table({"body": ["one", "two", "three"], "other": [1, 2, 3]})
    pyarrow.parquet.write_table(table, tmp_path / "part.parquet", row_group_size=2)
    (tmp_path / "more.txt").write_text("four\nfive\n")
    files = [str(tmp_path / "part.parquet"), str(tmp_path / "more.txt")]
    dataset = TextCorpus(files, [], column="body")
    assert texts(dataset) == ["one", "two", "three", "four", "five"]
    assert dataset[SampleKey.of(0, 0, 2)]["sample_id"] == f"{tmp_path}/part.parquet:2"
    with pytest.raises(ValueError, match=r"part.parquet has no column 'text'; it has \['body', 'other'\]"):
        TextCorpus(files, [])
    assert texts(pickle.loads(pickle.dumps(dataset))) == texts(dataset)


def test_corpus_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"files='/nowhere/\*.txt' does not exist; text files or tables"):
        TextCorpus("/nowhere/*.txt", [])
    (tmp_path / "a.doc").write_text("{}")
    with pytest.raises(ValueError, match=r"a.doc: a table ends in .arrow, .parquet"):
        TextCorpus(str(tmp_path / "a.doc"), [])
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"files='.*a.txt' hold no document"):
        TextCorpus(str(tmp_path / "a.txt"), [])
    with pytest.raises(ValueError, match=r"files=\[\] hold no document"):
        TextCorpus([], [])


def pairs(path: Path, rows: object) -> ImageText:
    text = "\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return ImageText(str(path), str(path.parent), [])


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl"])
def test_pairs_draw_one_image_and_one_caption(tmp_path: Path, name: str) -> None:
    rows = [{"image": "a.png", "caption": "one"}, {"image": ["b.png", "c.png"], "caption": ["x", "y", "z"]}]
    dataset = pairs(tmp_path / name, rows)
    assert len(dataset) == 2
    first = dataset[0]
    assert (first["image_path"], first["text"]) == (f"{tmp_path}/a.png", "one")
    drawn = [dataset[SampleKey.of(0, epoch, 1)] for epoch in range(60)]
    assert {(sample["image_path"][-5:], sample["text"]) for sample in drawn} == {
        (image, caption) for image in ("b.png", "c.png") for caption in "xyz"
    }
    assert len({sample["image_id"] for sample in drawn}) == 2
    assert {sample["sample_id"] for sample in drawn} == {f"{tmp_path / name}:1"}


def test_empty_lines_of_json_lines_are_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"image": "a.png", "caption": "x"}\n\n')
    assert len(ImageText(str(tmp_path / "pairs.jsonl"), str(tmp_path), [])) == 1


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "a.png"}, "the text is None, not a string"),
        ({"image": 3, "caption": "x"}, "the image is None, not a string"),
        ({"image": "", "caption": "x"}, "the reference to an image is empty"),
        ({"image": "../a.png", "caption": "x"}, r"'../a.png' does not lie below"),
        ({"image": "a.png", "caption": []}, "the text is None"),
        ({"image": "a.png", "caption": [None]}, "the text is None"),
        ({"image": "a.png", "caption": " \t"}, r"the text is ' \\t'"),
        ({"image": "a.png", "caption": "a\0b"}, r"the text has a NUL in it: 'a\\x00b'"),
        ({"image": "a.png", "caption": "\ud800"}, "the text is None"),
        ("a.png", "the text is None"),
    ],
)
def test_rows_of_another_form_are_broken(tmp_path: Path, name: str, row: object, message: str) -> None:
    dataset = pairs(tmp_path / name, [{"image": "good.png", "caption": "good"}, row])
    with pytest.raises(BrokenSample, match=message):
        dataset.read(1)
    assert dataset.read(0)["text"] == "good"


def test_tables_of_another_form_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    with pytest.raises(ValueError, match=r"annotations='.*pairs.json' hold no row"):
        pairs(path, [])
    with pytest.raises(ValueError, match=r"pairs.json should hold a list of rows"):
        pairs(path, {"image": "a.png"})
    with pytest.raises(ValueError, match=r"pairs.json has no column 'captions' or 'caption'; it has \['image'\]"):
        pairs(path, [{"image": "a.png"}])


def test_pairs_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annotations='/nowhere.json' does not exist; a table of"):
        ImageText("/nowhere.json", str(tmp_path), [])
    path = tmp_path / "pairs.json"
    path.write_text('[{"image": "a.png", "caption": "x"}]')
    with pytest.raises(FileNotFoundError, match=r"root='/nowhere' does not exist; the images"):
        ImageText(str(path), "/nowhere", [])
    path.write_text("[{")
    with pytest.raises(ValueError, match=r"pairs.json is not valid JSON"):
        ImageText(str(path), str(tmp_path), [])


def test_table_of_labelled_texts(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text('id\tsentence\tgold\n1\ta "quoted word\t0\n\n2\tb\t3\n', encoding="utf-8")
    dataset = TextTable(str(path), [], text="sentence", label="gold")
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(sample["text"], sample["label"]) for sample in samples] == [('a "quoted word', 0), ("b", 3)]
    assert samples[1]["sample_id"] == f"{path}:1"
    with pytest.raises(
        ValueError, match=r"dev.tsv has no column 'text'; its first line has \['id', 'sentence', 'gold'\]"
    ):
        TextTable(str(path), [])
    path.write_text("text\tlabel\nfine\t1\nbroken\tyes\n")
    with pytest.raises(
        ValueError, match=r"dev.tsv, line 3: expected a text and a whole number, got \['broken', 'yes'\]"
    ):
        TextTable(str(path), [])
    path.write_text("text\tlabel\nshort\n")
    with pytest.raises(ValueError, match="line 2: expected"):
        TextTable(str(path), [])
    with pytest.raises(FileNotFoundError, match="file='/nowhere.tsv' does not exist; a tab-separated table"):
        TextTable("/nowhere.tsv", [])


def test_table_of_labelled_pairs(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text("label\tquestion\tpassage\n1\tis it?\tIt is.\n0\tis it not?\t\n", encoding="utf-8")
    dataset = TextTable(str(path), [], text="question", text_pair="passage")
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(x["text"], x["text_pair"], x["label"]) for x in samples] == [
        ("is it?", "It is.", 1),
        ("is it not?", "", 0),
    ]
    with pytest.raises(ValueError, match="dev.tsv has no column 'answer'"):
        TextTable(str(path), [], text="question", text_pair="answer")
    path.write_text("label\tquestion\tpassage\n1\tis it?\n")
    with pytest.raises(ValueError, match=r"line 2: expected two texts and a whole number, got \['1', 'is it\?'\]"):
        TextTable(str(path), [], text="question", text_pair="passage")
