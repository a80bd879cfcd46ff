"""Patches against hand-made ones and against a convolution."""

import pytest
import torch
from torch import nn

from momo.ops import denormalize_patches, grid_size, normalize_patches, patchify, unpatchify


def test_patches_by_hand() -> None:
    """2 x 4 pixels, 3 channels, 2-pixel patches: two patches, each channel first, then row, then column."""
    images = torch.arange(24).view(1, 3, 2, 4)
    left = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21]
    assert patchify(images, 2)[0].tolist() == [left, [pixel + 2 for pixel in left]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_unpatchify_undoes_patchify(size: tuple[int, int], channels: int) -> None:
    images = torch.arange(2.0 * channels * size[0] * size[1]).view(2, channels, *size)
    patches = patchify(images, 4)
    assert torch.equal(unpatchify(patches, grid_size(*size, 4), 4), images)


def test_projecting_patches_is_a_convolution() -> None:
    convolution = nn.Conv2d(3, 5, kernel_size=4, stride=4).double()
    images = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    expected = convolution(images).flatten(2).transpose(1, 2)
    projected = nn.functional.linear(patchify(images, 4), convolution.weight.flatten(1), convolution.bias)
    torch.testing.assert_close(projected, expected, rtol=0, atol=1e-13)


def test_normalized_patches_by_hand() -> None:
    """Pixels 1, 2, 3, 6: mean 3, sample variance (4 + 1 + 0 + 9) / 3."""
    patches = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    expected = (patches - 3) / (14 / 3 + 1e-6) ** 0.5
    torch.testing.assert_close(normalize_patches(patches), expected, rtol=0, atol=1e-15)
    assert torch.equal(normalize_patches(torch.full((2, 5), 7.0)), torch.zeros(2, 5))


def test_denormalizing_undoes_normalizing() -> None:
    """Also where a patch is almost plain, and what is added to its variance counts."""
    patches = torch.randn(2, 3, 12, dtype=torch.float64) * torch.tensor([10.0, 1.0, 1e-3]).view(1, 3, 1) + 5
    restored = denormalize_patches(normalize_patches(patches), patches)
    torch.testing.assert_close(restored, patches, rtol=0, atol=1e-14)
    plain = torch.full((1, 4), 7.0)
    assert torch.allclose(denormalize_patches(torch.ones(1, 4), plain), plain + 1e-3)  # the root of 1e-6


def test_refuses_sizes_that_patches_do_not_fill() -> None:
    for size in ((9, 8), (8, 9)):
        with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} pixels is not made of 4-pixel patches"):
            grid_size(*size, 4)
        with pytest.raises(ValueError, match="4-pixel patches"):
            patchify(torch.zeros(1, 3, *size), 4)
