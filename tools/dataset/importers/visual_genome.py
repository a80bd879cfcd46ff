"""Visual Genome's region descriptions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .common import Format, Options, Pair, Published, clean, field, names, read_json


def pairs(path: Path, options: Options) -> Iterator[Pair]:
    """The images of region_descriptions.json, each with what is said of its regions, every sentence once.

    A description goes with the whole image, as in LXMERT (airsplay/lxmert#65), ALBEF (salesforce/ALBEF#2) and others;
    ALBEF also leaves out repeated sentences, and those of small regions, which `--min-area` does.

    Raises: FileNotFoundError if image_data.json is not beside it: it says where images lie and what COCO calls them.
    """
    about = path.with_name("image_data.json")
    if not about.is_file():
        raise FileNotFoundError(f"{about} is missing: unpack Visual Genome's image_data.json beside {path.name}")
    images = {field(row, "image_id", int, about, "an image"): row for row in read_json(about, "a list of images")}
    for number, row in enumerate(read_json(path, "Visual Genome's region descriptions")):
        where = f"image {number}"
        own = row.get("id", row.get("image_id")) if isinstance(row, dict) else None  # both were published
        if own not in images:
            raise ValueError(f"{path}, {where}: image {own!r} is not in {about}")
        image = images[own]
        smallest = options.min_area * _area(image, about, where)
        said = [
            field(region, "phrase", str, path, where)
            for region in field(row, "regions", list, path, where)
            if _area(region, path, where) >= smallest
        ]
        folder, name = PurePosixPath(field(image, "url", str, about, where)).parts[-2:]
        ids = names(own, coco=image.get("coco_id"), flickr=image.get("flickr_id"))
        yield Pair(f"{folder}/{name}", tuple(dict.fromkeys(clean(said))), ids)


def _area(row: dict, path: Path, where: str) -> int:
    return field(row, "width", int, path, where) * field(row, "height", int, path, where)


def options(parser: argparse.ArgumentParser) -> None:
    """--min-area."""
    parser.add_argument(
        "--min-area", type=float, default=0.0, help="leave out regions of a smaller fraction of the image (default: 0)"
    )


VISUAL_GENOME = Format(
    help="Visual Genome: region_descriptions.json beside image_data.json; --images above VG_100K/ and VG_100K_2/",
    source="visual_genome",
    pairs=pairs,
    # Before repeated sentences of an image are left out.
    published={"region_descriptions.json": Published(108_077, 5_408_689)},
    options=options,
)
