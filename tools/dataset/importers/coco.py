"""COCO's captions, as cocodataset.org publishes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from .common import Format, Options, Pair, Published, clean, field, flickr_id, names, read_json


def pairs(path: Path, options: Options) -> Iterator[Pair]:
    """The images of captions_*.json, each with all its captions."""
    data = read_json(path, "COCO's captions")
    captions = defaultdict(list)
    for number, note in enumerate(field(data, "annotations", list, path, "top level")):
        where = f"annotation {number}"
        captions[field(note, "image_id", int, path, where)].append(field(note, "caption", str, path, where))
    for number, image in enumerate(field(data, "images", list, path, "top level")):
        where = f"image {number}"
        own, name = field(image, "id", int, path, where), field(image, "file_name", str, path, where)
        yield Pair(name, clean(captions[own]), names(own, flickr=flickr_id(image.get("flickr_url"))))


COCO = Format(
    help="COCO: annotations/captions_*.json; --images the folder of that split",
    source="coco",
    pairs=pairs,
    published={
        "captions_train2014.json": Published(82_783, 414_113),
        "captions_val2014.json": Published(40_504, 202_654),
        "captions_train2017.json": Published(118_287, 591_753),
        "captions_val2017.json": Published(5_000, 25_014),
    },
)
