"""Sine-cosine positions against the formula, one number at a time."""

import math

import numpy as np
import pytest
import torch

from momo.ops import cached_sincos_2d, sincos_1d, sincos_2d


def code(position: float, dim: int) -> list[float]:
    angles = [position / 10000 ** (2 * k / dim) for k in range(dim // 2)]
    return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]


def test_one_dimension_equals_the_formula() -> None:
    positions = [0.0, 1.0, 2.5, -3.0, 511.0]
    expected = np.array([code(position, 8) for position in positions])
    np.testing.assert_allclose(sincos_1d(torch.tensor(positions), 8).numpy(), expected, rtol=0, atol=1e-12)


def test_first_half_codes_the_column_as_in_mae() -> None:
    rows, columns, dim = 3, 5, 16
    expected = [code(column, dim // 2) + code(row, dim // 2) for row in range(rows) for column in range(columns)]
    np.testing.assert_allclose(sincos_2d((rows, columns), dim).numpy(), np.array(expected), rtol=0, atol=1e-7)


def test_another_resolution_spans_the_same_picture() -> None:
    """Twice the patches: centres lie a quarter of an old patch beside the old centres."""
    dim, base = 8, (2, 2)
    centres = [-0.25, 0.25, 0.75, 1.25]
    expected = [code(column, dim // 2) + code(row, dim // 2) for row in centres for column in centres]
    np.testing.assert_allclose(sincos_2d((4, 4), dim, base).numpy(), np.array(expected), rtol=0, atol=1e-7)


def test_patches_whose_centres_meet_keep_their_code() -> None:
    """Three times the patches: the middle one of each three lies where the old one lay, exactly."""
    dim, base = 8, (4, 3)
    fine = sincos_2d((12, 9), dim, base).view(12, 9, dim)
    coarse = sincos_2d(base, dim).view(4, 3, dim)
    torch.testing.assert_close(fine[1::3, 1::3], coarse, rtol=0, atol=1e-6)
    assert torch.equal(sincos_2d(base, dim, base), sincos_2d(base, dim))


def test_one_axis_may_change_alone() -> None:
    wide = sincos_2d((2, 4), 8, (2, 2)).view(2, 4, 8)
    square = sincos_2d((2, 2), 8).view(2, 2, 8)
    assert torch.equal(wide[:, 0, 4:], square[:, 0, 4:])  # rows are coded as before


def test_cache_serves_inference_and_training() -> None:
    arguments = ((2, 2), 8, (2, 2), torch.device("cpu"), torch.float64)
    cached_sincos_2d.cache_clear()
    with torch.inference_mode():
        first = cached_sincos_2d(*arguments)
    assert cached_sincos_2d(*arguments) is first
    assert not first.is_inference()
    assert first.dtype == torch.float64
    torch.testing.assert_close(first.float(), sincos_2d((2, 2), 8))


def test_refuses_widths_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="even width, got 7"):
        sincos_1d(torch.zeros(1), 7)
    with pytest.raises(ValueError, match="multiple of 4 as width, got 6"):
        sincos_2d((2, 2), 6)
