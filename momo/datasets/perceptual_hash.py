"""Images that look alike: a hash of what a picture shows, and the search for hashes that are near each other."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dctn
from torchvision.transforms.v2 import functional

SIDE, LOW = 32, 8  # pixels that are transformed, and frequencies in each direction that are kept
BITS = LOW * LOW
GREY = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
FLAT = 0  # of a picture of one colour; equal hashes of this value say nothing
_CHUNK = 4_000_000  # candidate pairs compared at a time, 32 MB an array


def perceptual_hash(image: torch.Tensor) -> int:
    """64 bits of a picture's shape, which scaling, recompression and a change of brightness leave nearly as they are.

    The picture is made grey and 32 pixels wide and high, and transformed by a two-dimensional DCT; of the frequencies 1
    to 8 in both directions, a bit says whether it is above their median. Flipping or cropping makes another hash.

    Shapes: image (3, H, W) uint8.
    Returns: a number in [0, 2^64); FLAT where there is nothing to see.
    Source: Zauner 2010, 'Implementation and benchmarking of perceptual image hash functions', section 3.2.1; our choice
        is the antialiased resize in place of a mean filter.
    """
    grey = torch.tensordot(GREY, functional.resize(image, [SIDE, SIDE], antialias=True).float(), dims=1)
    waves = dctn(grey.numpy().astype(np.float64), norm="ortho")[1 : LOW + 1, 1 : LOW + 1].ravel()
    waves = waves.round(2)  # what is left of nothing by rounding has no sign
    return int(np.packbits(waves > np.median(waves)).view(">u8")[0])


def near_pairs(queries: np.ndarray, references: np.ndarray, max_distance: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of a query and a reference whose hashes differ in at most `max_distance` bits.

    Exact: hashes that differ in d bits agree in at least one of d + 1 bands, so only those that share a band are
    compared. A small distance is much faster.

    Shapes: queries (Q,), references (R,) uint64; the results (P,) int64 are places in them, ordered by query.
    Args:
        max_distance: 0 to 15; 4 finds recompressed and scaled copies (our choice).
    Raises: ValueError if max_distance is not in that range.
    """
    if not 0 <= max_distance <= 15:
        raise ValueError(f"max_distance must lie in 0 to 15, got {max_distance}")
    queries, references = np.asarray(queries, dtype=np.uint64), np.asarray(references, dtype=np.uint64)
    found = [np.empty((2, 0), dtype=np.int64)]
    edges = np.linspace(0, BITS, max_distance + 2).astype(np.uint64)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        mask = np.uint64(2 ** int(high - low) - 1)
        found += _pairs_in_band(queries, references, low, mask, max_distance)
    pairs = np.unique(np.concatenate(found, axis=1), axis=1)  # of several bands; np.unique sorts them by query
    return pairs[0], pairs[1]


def _pairs_in_band(
    queries: np.ndarray, references: np.ndarray, shift: np.uint64, mask: np.uint64, max_distance: int
) -> list[np.ndarray]:
    """Near pairs that agree in the bits of `mask` above `shift`, (2, P) arrays."""
    ours, theirs = (queries >> shift) & mask, (references >> shift) & mask
    order = np.argsort(theirs, kind="stable")
    theirs = theirs[order]
    first, last = np.searchsorted(theirs, ours, "left"), np.searchsorted(theirs, ours, "right")
    counts, found, start = last - first, [], 0
    ends = np.cumsum(counts)
    while start < len(ours):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _CHUNK, "right")), start + 1)
        part = counts[start:stop]
        query = np.repeat(np.arange(start, stop), part)
        place = np.arange(len(query)) - np.repeat(np.cumsum(part) - part, part) + first[query]
        reference = order[place]
        near = np.bitwise_count(queries[query] ^ references[reference]) <= max_distance
        found.append(np.stack([query[near], reference[near]]))
        start = stop
    return found
