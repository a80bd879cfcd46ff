"""Flickr30K's token file, and tables of one's own."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from .common import Format, Options, Pair, Published, clean, names, open_lines


def flickr30k_pairs(path: Path, options: Options) -> Iterator[Pair]:
    """results_20130124.token: '1000092795.jpg#0', a tab, and a caption; five lines an image."""
    captions: dict[str, list[str]] = {}
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            image, tab, caption = line.rstrip("\r\n").partition("\t")
            name, mark, place = image.rpartition("#")
            if not tab or not mark or not place.isdecimal():
                raise ValueError(
                    f"{path}, line {number}: expected 'image.jpg#0', a tab and a caption, got {line!r:.80}"
                )
            captions.setdefault(name, []).append(caption)
    for name, said in captions.items():
        yield Pair(name, clean(said), names(Path(name).stem, flickr=Path(name).stem))


def table_pairs(path: Path, options: Options) -> Iterator[Pair]:
    """A .csv, or a .tsv, which has no quoting, with a header; rows of the same image become its captions."""
    found: dict[str, tuple[list[str], str]] = {}
    tabs = path.suffix.lower() == ".tsv"
    form = dict(delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else {}
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        rows = csv.DictReader(lines, **form)
        wanted = [options.image_column, options.caption_column, *filter(None, [options.id_column])]
        for column in wanted:
            if column not in (rows.fieldnames or ()):
                raise ValueError(f"{path} has no column {column!r}; its first line has {rows.fieldnames}")
        for row in rows:
            image = row[options.image_column]
            if not image:
                raise ValueError(f"{path}, line {rows.line_num}: {options.image_column!r} is empty")
            own = row[options.id_column] if options.id_column else image
            found.setdefault(image, ([], own))[0].append(row[options.caption_column])
    for image, (captions, own) in found.items():
        yield Pair(image, clean(captions), names(own))


def table_options(parser: argparse.ArgumentParser) -> None:
    """The names of the columns."""
    parser.add_argument("--image-column", default="image", help="column of the images' paths (default: image)")
    parser.add_argument("--caption-column", default="caption", help="column of the captions (default: caption)")
    parser.add_argument("--id-column", help="column of the images' names (default: their paths)")


FLICKR30K = Format(
    help="Flickr30K: results_20130124.token; --images flickr30k-images/",
    source="flickr30k",
    pairs=flickr30k_pairs,
    published={"results_20130124.token": Published(31_783, 158_915)},
)
TABLE = Format(help="your own .csv or .tsv with a header", source="own", pairs=table_pairs, options=table_options)
