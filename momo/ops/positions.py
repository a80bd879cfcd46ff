"""Fixed sine-cosine positions."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of the positions at geometrically spaced frequencies from 1 to 1/10000.

    Shapes: positions (n,), any real numbers; the result is (n, dim).
    Raises: ValueError if dim is odd.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; sines and cosines in halves as MAE lays them.
    """
    if dim % 2:
        raise ValueError(f"sine-cosine positions need an even width, got {dim}")
    omega = torch.arange(dim // 2, dtype=torch.float64, device=positions.device) / (dim / 2)
    angles = positions.double()[:, None] / 10000**omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_2d(grid: tuple[int, int], dim: int, base: tuple[int, int] | None = None) -> Tensor:
    """Positions of a grid of patches, row by row; the first half of the width codes the column, the second the row.

    For another resolution than the one trained on, pass the trained grid as `base`: the same picture then spans the
    same range of coordinates (patch centres are mapped to patch centres), which interpolates the code exactly.

    Shapes: the result is (rows * columns, dim), float32.
    Raises: ValueError if dim is not a multiple of 4.
    Source: He et al. 2022, arXiv:2111.06377, appendix A.1; interpolation of coordinates is our choice.
    """
    if dim % 4:
        raise ValueError(f"two-dimensional sine-cosine positions need a multiple of 4 as width, got {dim}")
    axes = []
    for count, reference in zip(grid, base or grid, strict=True):
        centre = torch.arange(
            count, dtype=torch.float64, device="cpu"
        )  # real numbers, even while a model is built on meta
        axes.append(centre if count == reference else (centre + 0.5) * (reference / count) - 0.5)
    row, column = torch.meshgrid(*axes, indexing="ij")
    return torch.cat([sincos_1d(column.flatten(), dim // 2), sincos_1d(row.flatten(), dim // 2)], dim=1).float()


@lru_cache(maxsize=32)
def cached_sincos_2d(
    grid: tuple[int, int], dim: int, base: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """`sincos_2d` on a device, computed once a resolution. Never write to the result."""
    with torch.inference_mode(False):  # the table outlives the mode it was first asked for in
        return sincos_2d(grid, dim, base).to(device, dtype)
