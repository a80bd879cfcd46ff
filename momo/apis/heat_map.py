"""A picture under the relevance of its patches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .inputs import ImageSource, read_image

STRENGTH = 0.55  # of the colours; the rest is the picture in grey


def heat_map(image: ImageSource, patches: Tensor, shortest: int = 384) -> Tensor:
    """Colours from blue, where relevance is 0, to red, where it is largest, over the picture in grey.

    Args:
        image: The picture that was explained, at any size.
        patches: `Explanation.patches`, (rows, columns).
        shortest: Smaller pictures are enlarged until their shorter side has this many pixels.
    Shapes: the result is (3, H, W) uint8.
    Raises: as `read_image`.
    """
    from matplotlib import colormaps

    pixels = read_image(image)
    scale = max(1.0, shortest / min(pixels.shape[-2:]))
    size = [round(side * scale) for side in pixels.shape[-2:]]
    grey = F.interpolate(pixels.float().mean(0)[None, None] / 255, size, mode="bilinear")[0]
    heat = F.interpolate(patches.float()[None, None], size, mode="bilinear")[0, 0]
    colours = colormaps["jet"]((heat / heat.amax().clamp(min=1e-12)).numpy())[..., :3]
    mixed = STRENGTH * torch.from_numpy(np.ascontiguousarray(colours)).permute(2, 0, 1) + (1 - STRENGTH) * grey
    return (255 * mixed).round().byte()
