"""The pyramid for dense tasks: its strides, and that each place of a map comes from its own place."""

import pytest
import torch
from helpers.tiny import PATCH_SIZE, tiny_vit

from momo.models import SimpleFeaturePyramid


def test_strides_are_the_patch_size_over_the_scale() -> None:
    backbone = tiny_vit(out_type="featmap", vocab_size=0)
    neck = SimpleFeaturePyramid(32, 8, scales=(4, 2, 1, 0.5))
    maps = neck(backbone(torch.randn(2, 3, 32, 48)))
    strides = [PATCH_SIZE / scale for scale in (4, 2, 1, 0.5)]
    assert [tuple(x.shape) for x in maps] == [(2, 8, int(32 / stride), int(48 / stride)) for stride in strides]


@pytest.mark.parametrize("scale", SimpleFeaturePyramid.SCALES)
def test_a_place_is_seen_around_it_only(scale: float) -> None:
    """One place of the map that comes in reaches its own area and, by the 3 x 3 convolution, a pixel around it."""
    neck = SimpleFeaturePyramid(16, 8, scales=[scale])
    x = torch.randn(1, 16, 8, 8)
    changed = x.clone()
    changed[:, :, 4, 2] += 10
    rows, columns = (neck([x])[0] != neck([changed])[0]).any(1)[0].nonzero(as_tuple=True)
    for places, centre in ((rows, 4), (columns, 2)):
        first, last = int(centre * scale), int((centre + 1) * scale - 1) if scale >= 1 else int(centre * scale)
        assert places.min() == first - 1 and places.max() == last + 1


def test_each_pixel_is_normalised_over_channels() -> None:
    (x,) = SimpleFeaturePyramid(16, 8, scales=[2])([torch.randn(2, 16, 4, 4)])
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 8, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(1, unbiased=False), torch.ones(2, 8, 8), atol=1e-3, rtol=0)


def test_only_the_last_feature_counts() -> None:
    neck = SimpleFeaturePyramid(16, 8)
    first, last = torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)
    for one, other in zip(neck([first, last]), neck([last]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scales", [(3,), ()])
def test_unknown_scales_are_refused(scales: tuple) -> None:
    with pytest.raises(ValueError, match="must be some of"):
        SimpleFeaturePyramid(16, scales=scales)
