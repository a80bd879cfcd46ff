"""COCO and Flickr30K in Karpathy's splits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from .common import Format, Options, Pair, Published, clean, field, names, read_json

SPLITS = ("train", "restval", "val", "test")
# By name of the file: the number of images and captions in each split.
COCO = {"train": (82_783, 414_113), "restval": (30_504, 152_634), "val": (5_000, 25_010), "test": (5_000, 25_010)}
FLICKR = {"train": (29_000, 145_000), "val": (1_014, 5_070), "test": (1_000, 5_000)}
FILES = {"dataset_coco.json": COCO, "dataset_flickr30k.json": FLICKR}


def pairs(path: Path, options: Options) -> Iterator[Pair]:
    """The images of the chosen splits, each with all its captions; KarpathyCaptions evaluates on the first five."""
    data = read_json(path, "in Karpathy's format")
    for number, row in enumerate(field(data, "images", list, path, "top level")):
        where = f"image {number}"
        if field(row, "split", str, path, where) not in options.splits:
            continue
        name = field(row, "filename", str, path, where)
        sentences = field(row, "sentences", list, path, where)
        captions = clean(field(sentence, "raw", str, path, where) for sentence in sentences)
        if "cocoid" in row:
            yield Pair(str(Path(row.get("filepath", ""), name)), captions, names(row["cocoid"]))
        else:  # Flickr30K's files bear the photos' numbers at Flickr
            yield Pair(name, captions, names(Path(name).stem, flickr=Path(name).stem))


def parts(path: Path, options: Options) -> list[str]:
    """The splits, by the names that `published` has."""
    return [f"{path.name} {split}" for split in options.splits if split in FILES.get(path.name, {})]


def options(parser: argparse.ArgumentParser) -> None:
    """--splits."""
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=["train", "restval"], help="default: train restval"
    )


KARPATHY = Format(
    help="Karpathy's dataset_coco.json (--images above train2014/ and val2014/) or dataset_flickr30k.json",
    source="coco",
    pairs=pairs,
    published={f"{name} {split}": Published(*n) for name, splits in FILES.items() for split, n in splits.items()},
    parts=parts,
    options=options,
)
