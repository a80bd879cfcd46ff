"""Look at samples one by one: what they are, or why they cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from momo.datasets import LoadImage
from momo.datasets.base import KeyedDataset
from momo.datasets.broken import why_broken
from momo.datasets.keys import SampleKey, torch_seeded
from momo.datasets.perceptual_hash import FLAT, perceptual_hash
from momo.datasets.storage import read_bytes
from momo.ops import keyed_generator

from .languages import Reading, read_language


class Sample(NamedTuple):
    """What was found of one sample. Numbers are 0, and texts '' or None, where there is no image, no text, or nothing
    could be read.
    """

    index: int
    sample_id: str
    reason: str | None = None
    message: str = ""
    width: int = 0
    height: int = 0
    size: int = 0  # bytes of the image's file
    sha256: bytes = b""
    look: int = FLAT
    text: str = ""  # its beginning
    characters: int = 0
    words: int = 0
    reading: Reading | None = None


class _Examiner(Dataset):
    """Examines samples in the workers of a loader."""

    def __init__(self, dataset: KeyedDataset) -> None:
        self.dataset, self.load = dataset, LoadImage()

    def __getitem__(self, index: int) -> Sample:
        return examine(self.dataset, index, self.load)


def examine(dataset: KeyedDataset, index: int, load: LoadImage) -> Sample:
    """One sample; the caption, where there are several, is the one that the first epoch draws with seed 0."""
    found: dict[str, Any] = dict(index=index, sample_id=dataset.sample_id(index))
    try:
        raw = read(dataset, index)
        if "image_path" in raw:
            raw["image_bytes"] = read_bytes(raw["image_path"])
        if "image_bytes" in raw:
            data = raw["image_bytes"]
            image = load({**raw, "image_bytes": data})["image"]
            found |= dict(height=image.shape[1], width=image.shape[2], size=len(data))
            found |= dict(sha256=hashlib.sha256(data).digest(), look=perceptual_hash(image))
        if "text" in raw:
            text = raw["text"]
            found |= dict(text=text[:200], characters=len(text), words=len(text.split()), reading=read_language(text))
    except (ValueError, OSError) as error:
        return Sample(index, found["sample_id"], why_broken(error), str(error))
    return Sample(**found)


def read(dataset: KeyedDataset, index: int) -> dict[str, Any]:
    """The raw sample that the first epoch reads with seed 0."""
    with torch_seeded(SampleKey.of(0, 0, index).key):
        return dataset.read(index)


def choose(size: int, count: int) -> np.ndarray:
    """Which samples to look at, (min(size, count),): all of them, or a draw that is the same each time; in order."""
    if count == 0 or count >= size:
        return np.arange(size)
    return np.sort(keyed_generator("doctor", size).choice(size, count, replace=False))


def examine_all(dataset: KeyedDataset, indices: Sequence[int], workers: int, what: str) -> list[Sample]:
    """Every chosen sample, by several processes."""
    loader = DataLoader(
        _Examiner(dataset),
        sampler=[int(index) for index in indices],
        batch_size=16,
        collate_fn=list,
        num_workers=workers,
        worker_init_fn=_one_thread,
    )
    found = []
    for batch in track(loader, what):
        found += batch
    return found


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
