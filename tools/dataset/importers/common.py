"""What the importers share: the form of what they find, and how they say that a file is not what it should be."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from momo.datasets.to_arrow import is_text

Options = argparse.Namespace


class Pair(NamedTuple):
    """An image, by its path below the images' folder, with its captions and its names (see `names`)."""

    image: str
    captions: tuple[str, ...]
    id: str


class Published(NamedTuple):
    """How many images and captions a set's publisher says there are."""

    images: int
    captions: int


class Format(NamedTuple):
    """How a published set is read.

    help: what it reads, for the command line. pairs: from an annotation file to what it lists. source: the set's name
    in the manifest. published: by name of a file or part of it, what must come out. parts: the names in `published`
    that a file stands for. options: adds the format's own options to the command line.
    """

    help: str
    source: str
    pairs: Callable[[Path, Options], Iterator[Pair]]
    published: Mapping[str, Published] = {}
    parts: Callable[[Path, Options], list[str]] = lambda path, options: [path.name]
    options: Callable[[argparse.ArgumentParser], Any] = lambda parser: None


def names(own: int | str, **others: int | str | None) -> str:
    """The manifest's id: the set's own name of an image, then its names in other sets, as 'flickr:8119368305'.

    By these the same picture is found in two sets, though its bytes differ. Spaces, which part the names, are '%20' in
    them.
    """
    found = [str(own), *(f"{name}:{value}" for name, value in others.items() if value is not None)]
    return " ".join(name.replace(" ", "%20") for name in found)


def flickr_id(url: str | None) -> str | None:
    """The number of a photo in the address of its file at Flickr: .../8119368305_4e622c8349_z.jpg."""
    found = re.search(
        r"^https?://(?:[\w-]+\.)*(?:static)?flickr\.com/(?:.*/)?(\d+)_[0-9a-f]+(?:_\w+)?\.\w+$", url or ""
    )
    return found[1] if found else None


def clean(captions: Iterable[Any]) -> tuple[str, ...]:
    """Captions without spaces around them; the empty ones, and what training takes for no text, left out."""
    texts = (caption.strip() for caption in captions if is_text(caption))
    return tuple(text for text in texts if text and "\0" not in text)


def open_lines(path: Path) -> TextIO:
    """A file of UTF-8 lines that end at '\\n' alone; what is not UTF-8 is kept, for `clean` to find."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def read_json(path: Path, form: str) -> Any:
    """Raises: ValueError naming the file if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not {form}: {error}") from error


def field(row: Any, key: str, kind: type, path: Path, where: str) -> Any:
    """row[key].

    Raises: ValueError naming file, row and key if it is not there or of another kind.
    """
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"{path}, {where}: {key!r} should be of type {kind.__name__}, got {value!r:.80}")
    return value
