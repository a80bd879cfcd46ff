"""Image-text pairs in WebDataset's tars, as img2dataset writes them."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow
from mmengine.logging import print_log

from momo.ops import key_of
from momo.registry import DATASETS

from .base import KeyedDataset, checked_text, pick
from .broken import BrokenSample
from .image_folder import SUFFIXES
from .storage import read_bytes
from .tar_index import Member, TarIndex
from .tar_samples import TarSamples

_COLUMNS = [
    ("key", pyarrow.string()),
    ("image_offset", pyarrow.int64()),
    ("image_size", pyarrow.int64()),
    ("text_offset", pyarrow.int64()),
    ("text_size", pyarrow.int64()),
]

_PARTS = ("image", "text")


@DATASETS.register_module()
class WebDatasetPairs(KeyedDataset):
    """Pairs of members with one key: 000017.jpg with 000017.txt, or with a caption in 000017.json.

    The key is the path up to the first dot of the file's name. An image without a caption is no pair. The order is not
    that of a stream: every pair can be read at once, and the tars are indexed only the first time.

    Args:
        root: A .tar file, or a folder or URL that holds some.
        pipeline: Transforms; usually LoadImage, image transforms, Tokenize.
        caption_key: Which entry of the .json is the caption; None: the .txt is.
        max_bad_fraction: See BrokenSamples.
        cache_dir: As ImageTars has it.
    Raises: FileNotFoundError if nothing is there; ValueError if there is no pair, or naming a tar that is compressed,
        or broken.
    """

    def __init__(
        self,
        root: str,
        pipeline: Sequence[dict],
        caption_key: str | None = None,
        max_bad_fraction: float = 0.01,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(pipeline)
        self.caption_key = caption_key
        suffix = ".txt" if caption_key is None else ".json"
        self.pairs = TarSamples(root, f"pairs-2{suffix}", _COLUMNS, partial(_pairs, suffix=suffix), cache_dir)
        self.chunks = self.pairs.chunks
        if not len(self):
            raise ValueError(f"root={root!r}: no tar holds an image and a {suffix} file of the same key")
        self.tolerate(max_bad_fraction)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample_id(self, index: int) -> str:
        return f"{self.pairs.tar(index)}/{self.pairs.cell('key', index)}"

    def read(self, index: int) -> dict[str, Any]:
        sample_id, path = self.sample_id(index), self.pairs.tar(index)
        image, text = ([self.pairs.cell(f"{part}_{what}", index) for what in ("offset", "size")] for part in _PARTS)
        return {
            "sample_id": sample_id,
            "image_bytes": read_bytes(path, *image),
            "image_id": key_of(sample_id),
            "text": checked_text(self._caption(read_bytes(path, *text))),
        }

    def _caption(self, data: bytes) -> Any:
        text = data.decode("utf-8-sig")
        if self.caption_key is None:
            return text.strip()
        try:
            row = json.loads(text)
        except RecursionError as error:
            raise BrokenSample("bad row", "the .json is nested too deeply") from error
        if not isinstance(row, dict) or self.caption_key not in row:
            raise BrokenSample("bad row", f"the .json has no {self.caption_key!r}")
        return pick(row[self.caption_key])


def group_members(members: Iterable[Member]) -> dict[str, dict[str, Member]]:
    """Members by key and by suffix, '.jpg' or '.txt', in their order.

    The key is the path up to the first dot of the file's name. Of two members of one name the later one counts, as it
    does when a tar is unpacked.
    """
    groups: dict[str, dict[str, Member]] = {}
    for member in members:
        folder, base = posixpath.split(member.name)
        stem, dot, ending = base.partition(".")
        groups.setdefault(posixpath.join(folder, stem), {})[dot + ending.lower()] = member
    return groups


def image_of(group: Mapping[str, Member]) -> Member | None:
    """The first image among members of one key."""
    return next((member for suffix, member in group.items() if suffix in SUFFIXES), None)


def _pairs(path: str, members: TarIndex, suffix: str) -> list[tuple]:
    """Key and places of a tar's pairs."""
    groups = [(key, image_of(group), group.get(suffix)) for key, group in group_members(members).items()]
    images = [group for group in groups if group[1] is not None]
    pairs = [group for group in images if group[2] is not None]
    if len(pairs) < len(images):
        alone = len(images) - len(pairs)
        print_log(f"{path}: {alone} of {len(images)} images have no {suffix} and are left out", "current")
    return [(key, image.offset, image.size, text.offset, text.size) for key, image, text in pairs]
