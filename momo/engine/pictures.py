"""Pictures for the training log: what was restored, what was found."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from momo.models.downstream import Reconstruction

SIDE = 1.4  # of a picture in inches, at 100 dots each
RIGHT, WRONG = "tab:green", "lightgrey"


def draw_reconstruction(pictures: Reconstruction, titles: Sequence[str]) -> np.ndarray:
    """A column an example: the original, what was seen of it, what was restored.

    Shapes: titles (B,), possibly empty; the result is (height, width, 3) uint8.
    """
    rows = {"original": pictures.original, "seen": pictures.masked, "restored": pictures.restored}
    columns = len(pictures.original)
    figure = Figure((SIDE * columns + 0.3, SIDE * 3 + 0.5), layout="constrained")
    axes = figure.subplots(3, columns, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            show(axis, image)
        line[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(shortened(title, 22, 3), fontsize=7)
    return pixels_of(figure)


def draw_retrieval(captions: Sequence[str], found: Sequence[Sequence[tuple[Tensor, float, bool]]]) -> np.ndarray:
    """A row a caption: the pictures that are most similar to it, best first, with a green frame where one is its own.

    Args:
        found: Of each caption, picture (3, H, W) uint8, similarity, and whether it is right.
    Shapes: the result is (height, width, 3) uint8.
    """
    columns = len(found[0])
    figure = Figure((SIDE * (columns + 1.3), (SIDE + 0.2) * len(captions)), layout="constrained")
    axes = figure.subplots(len(captions), columns + 1, squeeze=False, width_ratios=[1.3] + [1] * columns)
    for (first, *others), caption, row in zip(axes, captions, found, strict=True):
        first.axis("off")
        first.text(0, 0.5, shortened(caption, 22, 7), fontsize=8, va="center", transform=first.transAxes)
        for axis, (image, similarity, right) in zip(others, row, strict=True):
            show(axis, image, RIGHT if right else WRONG)
            axis.set_title(f"{similarity:.2f}", fontsize=8, color=RIGHT if right else "black")
    return pixels_of(figure)


def show(axis: Axes, image: Tensor, frame: str = WRONG) -> None:
    axis.imshow(image.permute(1, 2, 0).numpy())
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=frame, linewidth=3 if frame == RIGHT else 1)


def shortened(text: str, width: int, lines: int) -> str:
    """A text in at most so many lines; '$', which would begin a formula, stands for itself."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …")).replace("$", r"\$")


def pixels_of(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
