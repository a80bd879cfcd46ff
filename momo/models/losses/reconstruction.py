"""Losses on what was hidden: pixels of patches, words of texts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from momo.ops import at_least_float32, global_mean, normalize_patches
from momo.registry import MODELS


@MODELS.register_module()
class MaskedImageLoss(nn.Module):
    """Mean squared error over the pixels of hidden patches, averaged over the hidden patches of all ranks.

    Args:
        norm_pix: Predict pixels normalised patch by patch, as MAE's recipe does; MoMo's Eq. 1 says pixels.
    Source: MoMo Eq. 1; He et al. 2022, arXiv:2111.06377, section 3.
    """

    def __init__(self, norm_pix: bool = False) -> None:
        super().__init__()
        self.norm_pix = norm_pix

    def forward(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Shapes: predicted, target (M, pixels), hidden patches only; the result is (), 0 where M is 0."""
        predicted, target = at_least_float32(predicted), at_least_float32(target)
        if self.norm_pix:
            target = normalize_patches(target)
        return global_mean(F.mse_loss(predicted, target, reduction="none").mean(-1).sum(), predicted.shape[0])


@MODELS.register_module()
class MaskedLanguageLoss(nn.Module):
    """Cross-entropy of hidden words, averaged over the hidden words of all ranks.

    Source: MoMo Eq. 2 (a sum there; the mean, as BERT's code takes it, does not grow with the batch).
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Shapes: logits (M, vocabulary), target (M,) ids, hidden words only; the result is (), 0 where M is 0."""
        total = F.cross_entropy(at_least_float32(logits), target, reduction="sum")
        return global_mean(total, logits.shape[0])
