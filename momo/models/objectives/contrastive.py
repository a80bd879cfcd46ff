"""The global contrastive objective (ITC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from momo.models.losses import GlobalContrastiveLoss
from momo.models.necks import ContrastiveProjection
from momo.ops import EncodePlan, check_mask_ratio, plan_sequences
from momo.registry import MODELS

from .base import Batch, Objective, ObjectiveResult, Request
from .masked import MaskPlanner


class ITCPlan(NamedTuple):
    image: EncodePlan
    text: EncodePlan


@dataclass(frozen=True)
class ITCPlanner:
    """Visible patches of each image, and its whole caption, apart."""

    image: MaskPlanner

    def __call__(self, batch: Batch) -> ITCPlan:
        text, _ = plan_sequences(len(batch["keys"]), 0, batch["word_counts"])
        return ITCPlan(self.image(batch).encode, text)


@MODELS.register_module()
class ITC(Objective):
    """Pull an image and its caption together, against the other pairs of all ranks.

    Args:
        embed_dim: Width of the encoder.
        projection_dim: Width of the shared space; None keeps the encoder's.
        pooling: See ContrastiveProjection.
        image_mask_ratio: Fraction of patches that the encoder does not see (MoMo 3.3: 'the encoder processes only the
            visible part of the inputs for all stages'); 0 encodes whole images. Captions stay whole.
        init_scale, max_scale: See GlobalContrastiveLoss.
    Source: MoMo Eq. 4.
    """

    gives_similarity = True

    def __init__(
        self,
        embed_dim: int = 768,
        projection_dim: int | None = None,
        pooling: str = "cls",
        image_mask_ratio: float = 0.75,
        init_scale: float = 1 / 0.07,
        max_scale: float = 100.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_mask_ratio("ITC.image_mask_ratio", image_mask_ratio)
        self.image_mask_ratio, self.loss_weight = image_mask_ratio, loss_weight
        self.neck = ContrastiveProjection(embed_dim, projection_dim, pooling)
        self.contrastive = GlobalContrastiveLoss(init_scale, max_scale)

    def planner(self, patch_size: int, salt: str) -> ITCPlanner:
        return ITCPlanner(MaskPlanner(patch_size, salt, image_ratio=self.image_mask_ratio))

    def request(self, backbone, batch, plan, similarity) -> Request:
        image = backbone.embed_image(batch["images"], plan.image)
        text = backbone.embed_text(batch["word_tokens"], plan.text)
        return Request([image, text], cls_only=self.neck.cls_only)

    def loss(self, encoded, batch, plan, backbone, decoder) -> ObjectiveResult:
        image, text = encoded.tokens
        output = self.contrastive(self.neck.project_image(image), self.neck.project_text(text))
        return ObjectiveResult({"loss": self.loss_weight * output.loss}, output.similarity)
