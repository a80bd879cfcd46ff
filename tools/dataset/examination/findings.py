"""From examined samples to what a page says of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from momo.datasets.perceptual_hash import FLAT, near_pairs

from .samples import Sample

NEAR = 4  # bits in which the hashes of copies differ at most; our choice
_BARS = 24


class Histogram(NamedTuple):
    """edges (B + 1,), counts (B,); what is beyond the last edge is in the last bar. median: of the values."""

    edges: list[float]
    counts: list[int]
    median: float
    unit: str


class Group(NamedTuple):
    """Samples that are one picture: their indices; kind: 'same bytes' or 'same look'."""

    indices: list[int]
    kind: str


class Leak(NamedTuple):
    """A sample that is in a set that it must not be in. kind: as Group has it; distance: bits."""

    index: int
    other: str
    other_index: int
    other_id: str
    kind: str
    distance: int


def whole(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.reason is None]


def broken_by_reason(samples: Sequence[Sample]) -> dict[str, int]:
    """Most frequent first."""
    return dict(Counter(sample.reason for sample in samples if sample.reason is not None).most_common())


def duplicates(samples: Sequence[Sample]) -> list[Group]:
    """Groups of two and more: those with the same bytes, then those that look the same but are not; largest first."""
    images = [sample for sample in whole(samples) if sample.sha256]
    by_bytes: dict[bytes, list[Sample]] = defaultdict(list)
    for sample in images:
        by_bytes[sample.sha256].append(sample)
    exact = [Group([one.index for one in same], "same bytes") for same in by_bytes.values() if len(same) > 1]
    firsts = [same[0] for same in by_bytes.values()]
    place = {sample.index: number for number, sample in enumerate(firsts)}
    links = np.array([(place[a.index], place[b.index]) for a, b in _alike(firsts, firsts)]).reshape(-1, 2).T
    graph = coo_array((np.ones(links.shape[1], dtype=bool), links), shape=(len(firsts), len(firsts)))
    by_look: dict[int, list[int]] = defaultdict(list)
    for sample, label in zip(firsts, connected_components(graph, directed=False)[1], strict=True):
        by_look[label].append(sample.index)
    near = [Group(indices, "same look") for indices in by_look.values() if len(indices) > 1]
    largest = [sorted(groups, key=lambda group: -len(group.indices)) for groups in (exact, near)]
    return [*largest[0], *largest[1]]


def leaks(samples: Sequence[Sample], others: dict[str, Sequence[Sample]]) -> list[Leak]:
    """Samples that are also in other sets, by bytes or by look; each with the nearest of each set."""
    images = [sample for sample in whole(samples) if sample.sha256]
    found: list[Leak] = []
    for name, theirs in others.items():
        theirs = [sample for sample in whole(theirs) if sample.sha256]
        same = {other.sha256: other for other in theirs}
        nearest = {
            sample.index: _leak(sample, name, same[sample.sha256], "same bytes", 0)
            for sample in images
            if sample.sha256 in same
        }
        for sample, other in _alike(images, theirs):
            distance = (sample.look ^ other.look).bit_count()
            known = nearest.get(sample.index)
            if known is None or (known.kind == "same look" and distance < known.distance):
                nearest[sample.index] = _leak(sample, name, other, "same look", distance)
        found += nearest.values()
    return found


def _leak(sample: Sample, name: str, other: Sample, kind: str, distance: int) -> Leak:
    return Leak(sample.index, name, other.index, other.sample_id, kind, distance)


def _alike(samples: Sequence[Sample], others: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pairs that look the same; pictures of one colour all would, and are left out."""
    shown = [[sample for sample in part if sample.look != FLAT] for part in (samples, others)]
    looks = [np.array([sample.look for sample in part], dtype=np.uint64) for part in shown]
    rows, columns = near_pairs(*looks, NEAR)
    return [(shown[0][row], shown[1][column]) for row, column in zip(rows, columns, strict=True)]


def histograms(samples: Sequence[Sample]) -> dict[str, Histogram]:
    """By title, of what the samples have."""
    samples = whole(samples)
    images = [sample for sample in samples if sample.sha256]
    texts = [sample for sample in samples if sample.characters]
    found = {}
    if images:
        found["Shorter side"] = histogram([min(one.width, one.height) for one in images], "pixels")
        found["Aspect ratio"] = histogram([one.width / one.height for one in images], "width / height")
        found["File size"] = histogram([one.size / 1024 for one in images], "KB")
    if texts:
        title = "Caption length" if images else "Text length"
        found[title] = histogram([one.words for one in texts], "words")
    return found


def histogram(values: Sequence[float], unit: str) -> Histogram:
    """Bars of equal width up to the 99th percentile, of whole numbers where the values are whole; of equal ratios where
    the longest are ten times as long as most.
    """
    data = np.asarray(values, dtype=np.float64)
    low, high = data.min(), np.quantile(data, 0.99)
    if low == high:
        edges = np.array([low, max(data.max(), low + 1)])
    elif low > 0 and high > 10 * np.median(data):
        edges, unit = np.geomspace(low, high, _BARS + 1), f"{unit}, on a log scale"
    elif (data == data.round()).all():
        width = max(1, int(np.ceil((high - low + 1) / _BARS)))
        edges = np.arange(low, high + width + 1, width)
    else:
        edges = np.linspace(low, high, _BARS + 1)
    counts, _ = np.histogram(data.clip(max=edges[-1]), edges)
    return Histogram(edges.tolist(), counts.tolist(), float(np.median(data)), unit)


def shares(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Of the texts that can be read, the share of each language and script; rarer than 1 in 200 is 'other'."""
    readings = [sample.reading for sample in whole(samples) if sample.reading is not None]
    found: dict[str, dict[str, float]] = {}
    for field in ("language", "script"):
        counts = Counter(getattr(reading, field) for reading in readings)
        if None in counts and len(counts) == 1:
            continue
        shown = [(name or "unknown", n) for name, n in counts.most_common() if n * 200 >= len(readings)]
        common = {name: n / len(readings) for name, n in shown}
        if readings and (rest := 1 - sum(common.values())) > 1e-9:
            common["other"] = rest
        if common:
            found[field] = common
    return found


def summary(samples: Sequence[Sample], size: int) -> dict[str, Any]:
    """Counts of a source."""
    images = [sample for sample in whole(samples) if sample.sha256]
    texts = [sample for sample in whole(samples) if sample.characters]
    broken = broken_by_reason(samples)
    return {
        "size": size,
        "examined": len(samples),
        "images": len(images),
        "texts": len(texts),
        "broken": broken,
        "broken_total": sum(broken.values()),
        "distinct_texts": len({sample.text for sample in texts}),
    }
