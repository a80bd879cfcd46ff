"""Small pictures and charts for the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from torchvision.io import encode_jpeg
from torchvision.transforms.v2 import functional

from momo.datasets import LoadImage
from momo.datasets.base import KeyedDataset

from .findings import Histogram
from .samples import read

SIDE = 176  # pixels of the shorter side of a thumbnail
WIDTH, HEIGHT, BOTTOM = 300, 110, 18


def thumbnail(dataset: KeyedDataset, index: int) -> str:
    """A sample's picture as the address of an image in a page: cut to a square, a small JPEG."""
    image = LoadImage()(dict(read(dataset, index)))["image"]
    scale = SIDE / min(image.shape[-2:])
    size = [max(SIDE, round(side * scale)) for side in image.shape[-2:]]
    # A very long picture is cut first: its middle is what is shown, and scaling all of it would take gigabytes.
    longest = 8 * min(image.shape[-2:])
    if max(image.shape[-2:]) > longest:
        image = functional.center_crop(image, [min(side, longest) for side in image.shape[-2:]])
        size = [max(SIDE, round(side * scale)) for side in image.shape[-2:]]
    image = functional.center_crop(functional.resize(image, size, antialias=True), [SIDE, SIDE])
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=80).numpy().tobytes()).decode()


def bar_chart(title: str, histogram: Histogram) -> Markup:
    """A histogram as SVG, coloured by the page's style sheet."""
    edges, counts, median, unit = histogram
    tallest, width = max(counts) or 1, WIDTH / len(counts)
    label = f"{title}: {number(edges[0])} to {number(edges[-1])} {unit}, median {number(median)}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{Markup.escape(label)}">']
    for place, count in enumerate(counts):
        height = max((HEIGHT - BOTTOM - 4) * count / tallest, 1.5 if count else 0)
        tip = f"{number(edges[place])} to {number(edges[place + 1])}: {count:,}"
        parts.append(
            f'<rect class="bar" x="{place * width + 0.5:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" '
            f'width="{width - 1:.1f}" height="{height:.1f}"><title>{tip}</title></rect>'
        )
    x = np.interp(median, edges, np.linspace(0, WIDTH, len(edges)))
    parts.append(f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(f'<line class="axis" x1="0" x2="{WIDTH}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    ends = [(edges[0], "start", 0), (edges[-1], "end", WIDTH)]
    for value, anchor, position in ends if len(counts) > 1 else ends[:1]:
        text = number(value) + ("+" if anchor == "end" else "")
        parts.append(f'<text class="tick" x="{position}" y="{HEIGHT - 4}" text-anchor="{anchor}">{text}</text>')
    return Markup("".join([*parts, "</svg>"]))


def number(value: float) -> str:
    """At most three digits that mean something, thousands apart."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(items: Sequence, count: int) -> list:
    """`count` of the items, evenly from first to last."""
    if len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]
