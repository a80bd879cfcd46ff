"""Sizes of models, and inputs that every side of a comparison gets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Size(NamedTuple):
    """Encoder, decoder (where there is one), image and patch in pixels, entries of the vocabulary."""

    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    image: int
    patch: int
    vocabulary: int = 30522

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2

    def hollow(self) -> Size:
        """As many layers and heads, two channels a head, four patches, few words: a step makes the same calls, and
        what they compute takes next to no time."""
        narrow = dict(width=2 * self.heads, decoder_width=2 * self.decoder_heads)
        return self._replace(**narrow, image=4, patch=2, vocabulary=64)


SIZES = {
    "base": Size(768, 12, 12, 512, 8, 16, 224, 16),
    "demo": Size(128, 4, 4, 96, 2, 4, 48, 8),  # configs/_base_/models/demo.py
    "tiny": Size(32, 2, 4, 16, 1, 2, 32, 8, vocabulary=1100),
}


def token_lengths(count: int, mean: int, longest: int | None = None) -> np.ndarray:
    """Tokens of texts, what stands before and after the words included, in rising order; a function of the arguments.

    Skewed as captions are, from 5 to `longest`, `mean` on average before that; all equal to `mean` without a longest.
    """
    if longest is None:
        return np.full(count, mean)
    skewed = np.exp(0.45 * np.random.default_rng(count).standard_normal(count))
    return np.sort(np.clip(np.round(skewed / skewed.mean() * mean), 5, longest).astype(np.int64))
