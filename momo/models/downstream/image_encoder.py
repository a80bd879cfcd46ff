"""The encoder alone, for evaluations that keep it frozen."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from momo.models.necks import pooling_by_name
from momo.registry import MODELS


@MODELS.register_module()
class ImageEncoder(BaseModel):
    """Features of whole images.

    Args:
        backbone: Config of the encoder.
        pooling: 'cls' takes [CLS] of the last layer, as FLAVA's linear evaluation does; 'mean' the mean of the patches.
        data_preprocessor: Config of the data preprocessor.
    """

    modalities = ("image",)

    def __init__(
        self,
        backbone: dict,
        pooling: str = "cls",
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(MODELS.build(data_preprocessor or dict(type="momo.MoMoDataPreprocessor")), init_cfg)
        self.backbone = MODELS.build(backbone)
        self.pool, self.cls_only = pooling_by_name(pooling), pooling == "cls"

    def planners(self, modality: str) -> dict:
        """Nothing is masked."""
        return {}

    def forward(self, inputs: dict[str, dict[str, Any]], data_samples: Any = None, mode: str = "tensor") -> Tensor:
        """Features (B, C) of inputs['image']['images'], preprocessed.

        Raises: ValueError for another mode than 'tensor' or 'predict': there is nothing to train.
        """
        if mode not in ("tensor", "predict"):
            raise ValueError(f"mode={mode!r}: a frozen encoder knows 'tensor' and 'predict'")
        return self.pool(self.backbone.encode_images(inputs["image"]["images"], self.cls_only))
