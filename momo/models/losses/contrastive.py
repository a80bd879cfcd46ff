"""The global contrastive loss."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from momo.ops import at_least_float32, gather_with_grad, rank, without_autocast
from momo.registry import MODELS


class ContrastiveOutput(NamedTuple):
    """loss (); similarity (B, B) of this rank's images and texts, scaled, without gradient."""

    loss: Tensor
    similarity: Tensor


def global_contrastive_loss(image_features: Tensor, text_features: Tensor, scale: Tensor) -> Tensor:
    """Mean of image-to-text and text-to-image cross-entropy; rows are this rank's, columns those of all ranks.

    Shapes: image_features, text_features (B, D), unit length, row i of each a pair; scale (); the result is ().
    Source: MoMo Eq. 4; both directions as in Radford et al. 2021, arXiv:2103.00020, and FLAVA.
    """
    target = rank() * len(image_features) + torch.arange(len(image_features), device=image_features.device)
    image_logits = scale * image_features @ gather_with_grad(text_features).T
    text_logits = scale * text_features @ gather_with_grad(image_features).T
    losses = [F.cross_entropy(at_least_float32(logits), target) for logits in (image_logits, text_logits)]
    return sum(losses) / 2


@MODELS.register_module()
class GlobalContrastiveLoss(nn.Module):
    """`global_contrastive_loss` with a learnt temperature.

    Args:
        init_scale: First value of 1 / temperature.
        max_scale: Largest value of 1 / temperature.
    Source: FLAVA and CLIP (the paper gives none): ln(1/0.07) learnt, at most 100.
    """

    def __init__(self, init_scale: float = 1 / 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        self.max_scale = max_scale
        self.logit_scale = nn.Parameter(torch.tensor(math.log(init_scale)))

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Bring a scale that the optimizer pushed too far back to `max_scale`."""
        self.logit_scale.clamp_(max=math.log(self.max_scale))

    def forward(self, image_features: Tensor, text_features: Tensor) -> ContrastiveOutput:
        """Shapes: image_features, text_features (B, D), unit length, row i of each a pair."""
        if self.training:
            self.clamp_scale()
        with without_autocast(image_features):
            return self._in_full_precision(at_least_float32(image_features), at_least_float32(text_features))

    def _in_full_precision(self, image_features: Tensor, text_features: Tensor) -> ContrastiveOutput:
        scale = self.logit_scale.exp()
        loss = global_contrastive_loss(image_features, text_features, scale)
        similarity = at_least_float32(scale * image_features @ text_features.T).detach()
        return ContrastiveOutput(loss, similarity)
