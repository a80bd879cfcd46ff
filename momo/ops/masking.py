"""Which tokens the encoder does not see. Host-side, pure functions of the noise that is handed in.

Every function here is NumPy: masks are drawn while the batch is collated, in the loader's workers.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key_of(*parts: int | str) -> int:
    """A 64-bit key, a function of its parts alone: the same on every machine, in every process.

    Keys replace generator state: what is drawn for (seed, epoch, sample) can be drawn again at any time.
    """
    text = "/".join(str(part) for part in parts)
    data = text.encode("utf-8", "surrogatepass")  # paths that are not UTF-8 have half characters in them
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def keyed_generator(*parts: int | str) -> np.random.Generator:
    """A generator that starts from `key_of(*parts)`; cheap enough to make one a sample."""
    return np.random.Generator(np.random.Philox(key=key_of(*parts)))


def check_mask_ratio(name: str, mask_ratio: float) -> None:
    """Raises: ValueError with the name if the ratio is outside [0, 1)."""
    if not 0 <= mask_ratio < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {mask_ratio}")


def num_hidden(lengths: np.ndarray, mask_ratio: float) -> np.ndarray:
    """How many tokens of each sequence to hide.

    round(length * ratio), but at least 1 where the ratio is above 0, and at most length - 1: something is always
    visible, and a one-token text hides nothing.

    Shapes: lengths (S,) in, (S,) out.
    Raises: ValueError if mask_ratio is outside [0, 1) or a length is < 1.
    Source: He et al. 2022, arXiv:2111.06377, section 3 (counts); the bounds for short texts are our choice.
    """
    check_mask_ratio("mask_ratio", mask_ratio)
    lengths = np.asarray(lengths, dtype=np.int64)
    if lengths.size and lengths.min() < 1:
        raise ValueError(f"every sequence needs at least one token, got {lengths.min()}")
    wanted = np.rint(lengths * mask_ratio).astype(np.int64)
    return np.minimum(np.maximum(wanted, int(mask_ratio > 0)), lengths - 1)


def random_masking(lengths: np.ndarray, mask_ratio: float, noise: np.ndarray) -> np.ndarray:
    """Choose which tokens of each sequence to hide: those with the smallest noise.

    Counts are taken over real tokens, so a short caption never keeps only padding.

    Shapes: lengths (S,); noise (N,), N = lengths.sum(), packed in the same order; the result is (N,).
    Args:
        lengths: Tokens in each sequence, >= 1, without [CLS].
        mask_ratio: Fraction to hide, in [0, 1); `num_hidden` gives the exact counts.
        noise: One number a token; uniform noise draws uniformly without replacement.
    Returns: bool, True = hidden from the encoder.
    Raises: ValueError as `num_hidden`, or if noise has another length than the tokens.
    Source: He et al. 2022, arXiv:2111.06377, section 3; for ragged text our choice (the authors mask fixed grids).
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    hidden = num_hidden(lengths, mask_ratio)
    if noise.shape != (lengths.sum(),):
        raise ValueError(f"{lengths.sum()} tokens need as many noise values, got shape {noise.shape}")
    owner = np.repeat(np.arange(lengths.size), lengths)
    order = np.lexsort((noise, owner))  # by sequence, then by noise
    rank = np.arange(noise.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    mask = np.empty(noise.size, dtype=bool)
    mask[order] = rank < np.repeat(hidden, lengths)
    return mask
