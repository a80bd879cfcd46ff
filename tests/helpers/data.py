"""Small data on disk: images, texts, pairs and a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torchvision.io import write_png

WORDS = ("sun", "moon", "red", "blue", "cat", "dog", "runs", "sleeps", "over", "under", "hill", "sea", "a", "the")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = (*SPECIAL, *WORDS, "##s", ".")
_RNG = np.random.default_rng


def write_tokenizer(folder: Path) -> str:
    """A BERT vocabulary of a few words; everything else is [UNK]."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return str(folder)


def write_images(folder: Path, count: int, size: int = 40) -> str:
    """Distinct pictures, 0.png, 1.png, ... in two sub-folders."""
    for index in range(count):
        path = folder / ("even" if index % 2 == 0 else "odd") / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(torch.from_numpy(_RNG(index).integers(0, 256, (3, size, size), dtype=np.uint8)), str(path))
    return str(folder)


def sentence(index: int) -> str:
    """3 to 9 words, a function of the number."""
    rng = _RNG(index)
    return " ".join(rng.choice(WORDS, rng.integers(3, 10)))


def write_texts(path: Path, count: int, start: int = 0) -> str:
    """A document a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{sentence(start + index)}\n" for index in range(count)), encoding="utf-8")
    return str(path)


def write_pairs(path: Path, images: Path) -> str:
    """A pair for every image below a folder: two captions to choose from."""
    names = sorted(str(image.relative_to(images)) for image in images.rglob("*.png"))
    rows = [
        {"image": name, "caption": [sentence(1000 + index), sentence(2000 + index)]} for index, name in enumerate(names)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)
