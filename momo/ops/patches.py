"""Images to patches and back.

Legend: B images, G = height / p and W = width / p patches down and across, L = G * W, p patch size in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_size(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Patches down and across.

    Args: height, width and patch_size in pixels.
    Raises: ValueError if the patch size does not divide both.
    """
    if height % patch_size or width % patch_size:
        raise ValueError(f"an image of {height} x {width} pixels is not made of {patch_size}-pixel patches")
    return height // patch_size, width // patch_size


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into non-overlapping patches, row by row.

    Shapes: images (B, 3, G*p, W*p); the result is (B, L, 3*p*p), each patch channel first, then row, then column, as a
    convolution's weight lies in memory.
    Raises: ValueError if the patch size does not divide the image.
    """
    batch, channels, height, width = images.shape
    rows, columns = grid_size(height, width, patch_size)
    x = images.view(batch, channels, rows, patch_size, columns, patch_size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """Undo `patchify`.

    Shapes: patches (B, L, channels*p*p); the result is (B, channels, G*p, W*p).
    """
    rows, columns = grid
    x = patches.view(patches.shape[0], rows, columns, -1, patch_size, patch_size)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(patches.shape[0], -1, rows * patch_size, columns * patch_size)


_EPS = 1e-6


def normalize_patches(patches: Tensor) -> Tensor:
    """Give each patch zero mean and unit (sample) variance over its pixels.

    Shapes: (..., pixels) in and out.
    Source: He et al. 2022, arXiv:2111.06377, section 4.1, 'reconstruction target'; 1e-6 is added to the variance.
    """
    mean, deviation = _mean_and_deviation(patches)
    return (patches - mean) / deviation


def denormalize_patches(normalized: Tensor, patches: Tensor) -> Tensor:
    """Undo `normalize_patches` by the mean and the contrast of `patches`, those that were, or would be, normalised.

    Shapes: normalized and patches (..., pixels); the result as well.
    """
    mean, deviation = _mean_and_deviation(patches)
    return normalized * deviation + mean


def _mean_and_deviation(patches: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + _EPS).sqrt()
