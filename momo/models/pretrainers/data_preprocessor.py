"""From collated batches to tensors on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from momo.registry import MODELS


@MODELS.register_module()
class MoMoDataPreprocessor(BaseDataPreprocessor):
    """Move each modality's batch to the device and normalise its images there, so that workers send bytes, not floats.

    Args:
        mean, std: Per channel, on the scale of 0 to 255. Default: ImageNet's, as in MAE.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, channels, height, width), 0 to 255 in, zero mean and unit variance out."""
        return (images.to(self.mean.dtype) - self.mean) / self.std

    def denormalize(self, images: torch.Tensor) -> torch.Tensor:
        """Undo `normalize`: back to 0 to 255, clipped."""
        return (images * self.std + self.mean).clamp(0, 255)

    def forward(self, data: dict[str, dict[str, Any]], training: bool = False) -> dict[str, Any]:
        """Batches by modality, as the loop hands them over; the result is the model's keyword arguments."""
        batches = self.cast_data(data)
        return {"inputs": {name: self._with_normalized_images(batch) for name, batch in batches.items()}}

    def _with_normalized_images(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "images": self.normalize(batch["images"])} if "images" in batch else batch
