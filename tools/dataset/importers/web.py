"""Sets that are published as addresses of images: SBU, Conceptual Captions 3M and 12M, RedCaps."""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .common import Format, Options, Pair, Published, clean, field, flickr_id, names, open_lines, read_json


def file_name(template: str, row: int, url: str) -> str:
    """What a downloader called the image of an address, see --file-name."""
    path = re.split("[?#]", url.partition("://")[2])[0].partition("/")[2]
    return template.format(row=row, name=PurePosixPath(path).name, crc32=zlib.crc32(url.encode("utf-8", "replace")))


def _template(text: str) -> str:
    try:
        text.format(row=0, name="", crc32=0)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} has other fields than row, name and crc32: {error!r}") from error
    return text


def file_name_option(default: str):
    """--file-name with a default."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--file-name",
            type=_template,
            default=default,
            help="how the images are called: {row} is the number of the row from 0, {name} the last part of the "
            f"address, {{crc32}} the checksum of the address (default: {default})",
        )

    return options


def sbu_pairs(path: Path, options: Options) -> Iterator[Pair]:
    """sbu-captions-all.json: lists of addresses and captions side by side."""
    data = read_json(path, "SBU's captions")
    urls, captions = (field(data, key, list, path, "top level") for key in ("image_urls", "captions"))
    if len(urls) != len(captions):
        raise ValueError(f"{path} has {len(urls):,} image_urls and {len(captions):,} captions: it is not whole")
    for row, (url, caption) in enumerate(zip(urls, captions, strict=True)):
        if not isinstance(url, str):
            raise ValueError(f"{path}, row {row}: the address is {url!r}, not a string")
        name = file_name(options.file_name, row, url)
        yield Pair(name, clean([caption]), names(row, flickr=flickr_id(url)))


def conceptual_pairs(path: Path, options: Options) -> Iterator[Pair]:
    """Train_GCC-training.tsv (caption, address) or cc12m.tsv (address, caption), with or without a header."""
    with open_lines(path) as lines:
        row = 0
        for number, line in enumerate(lines, 1):
            cells = line.rstrip("\r\n").split("\t")
            urls = [place for place, cell in enumerate(cells) if cell.startswith(("http://", "https://"))]
            if number == 1 and sorted(cells) in (["caption", "url"], ["caption", "image_url"]):
                continue
            if len(cells) != 2 or not urls:
                raise ValueError(f"{path}, line {number}: expected a caption, a tab and an address, got {line[:80]!r}")
            url = cells[urls[-1]]  # a caption may be an address too; then the second cell is the image's, as in CC3M
            yield Pair(file_name(options.file_name, row, url), clean([cells[1 - urls[-1]]]), names(row))
            row += 1


def redcaps_pairs(path: Path, options: Options) -> Iterator[Pair]:
    """annotations/<subreddit>_<year>.json, images as redcaps-downloader stores them: <subreddit>/<image_id>.jpg."""
    data = read_json(path, "RedCaps' annotations")
    for number, note in enumerate(field(data, "annotations", list, path, "top level")):
        where = f"annotation {number}"
        own, subreddit, caption = (field(note, key, str, path, where) for key in ("image_id", "subreddit", "caption"))
        yield Pair(f"{subreddit}/{own}.jpg", clean([caption]), names(own, flickr=flickr_id(note.get("url"))))


SBU = Format(
    help="SBU: sbu-captions-all.json",
    source="sbu",
    pairs=sbu_pairs,
    published={"sbu-captions-all.json": Published(1_000_000, 1_000_000)},
    options=file_name_option("{name}"),  # as torchvision's SBUCaption stores them
)
CONCEPTUAL = Format(
    help="Conceptual Captions: Train_GCC-training.tsv (3M) or cc12m.tsv (12M)",
    source="conceptual",
    pairs=conceptual_pairs,
    published={
        "Train_GCC-training.tsv": Published(3_318_333, 3_318_333),
        "Validation_GCC-1.1.0-Validation.tsv": Published(15_840, 15_840),
        "cc12m.tsv": Published(12_423_374, 12_423_374),
    },
    options=file_name_option("{crc32}"),  # as the downloaders do that most people used
)
REDCAPS = Format(
    help="RedCaps: all of annotations/*.json; --images above the subreddits' folders",
    source="redcaps",
    pairs=redcaps_pairs,
    published={"*": Published(12_011_121, 12_011_121)},
    parts=lambda path, options: ["*"],
)
