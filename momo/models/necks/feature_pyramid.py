"""From the one scale of a plain transformer to the several that dense tasks ask for."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from momo.registry import MODELS


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel of (B, C, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Feature maps at several scales, all made from the last map of the backbone.

    Give the backbone `out_type='featmap'`. With patches of p pixels, scale s has a stride of p / s pixels.

    Args:
        in_channels: Width of the encoder.
        out_channels: Width of every map that comes out.
        scales: Of each map to the one that comes in, finest first: 4 and 2 by transposed convolutions, 1 as it is, 0.5
            by the largest of 2 x 2.
    Raises: ValueError for another scale.
    Source: Li et al. 2022, arXiv:2203.16527, section 3 and appendix A.2.
    """

    SCALES = (4, 2, 1, 0.5)

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = SCALES,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unknown = [scale for scale in scales if scale not in self.SCALES]
        if unknown or not scales:
            raise ValueError(f"scales={tuple(scales)} must be some of {self.SCALES}")
        self.levels = nn.ModuleList(self._level(in_channels, out_channels, scale) for scale in scales)

    def _level(self, dim: int, out: int, scale: float) -> nn.Sequential:
        resize: list[nn.Module] = []
        if scale == 4:
            resize = [nn.ConvTranspose2d(dim, dim // 2, 2, stride=2), ChannelNorm(dim // 2, eps=1e-6), nn.GELU()]
            dim //= 2
        if scale > 1:
            resize.append(nn.ConvTranspose2d(dim, dim // 2, 2, stride=2))
            dim //= 2
        if scale < 1:
            resize.append(nn.MaxPool2d(2))
        return nn.Sequential(
            *resize,
            nn.Conv2d(dim, out, 1, bias=False),
            ChannelNorm(out, eps=1e-6),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            ChannelNorm(out, eps=1e-6),
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """A map a scale.

        Shapes: the last of `features` is (B, in_channels, rows, columns); the results are (B, out_channels, s * rows,
            s * columns).
        """
        return tuple(level(features[-1]) for level in self.levels)
