"""The image-text matching loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from momo.ops import at_least_float32, global_mean
from momo.registry import MODELS


def draw_negatives(similarity: Tensor, candidates: Tensor, noise: Tensor) -> Tensor:
    """For each row draw a column, likelier the more similar: one draw from the softmax over the candidates.

    The draw is the maximum of similarity plus Gumbel noise, so it is a function of the noise that is handed in and
    needs no generator; it cannot fail, whatever the similarities.

    Shapes: similarity, candidates (bool), noise (standard Gumbel) (B, B); the result is (B,). Rows without a candidate
        give an arbitrary column.
    Source: MoMo 3.1 ('guided by similarity scores'), as in ALBEF, arXiv:2107.07651, section 3.2.
    """
    return (similarity + noise).masked_fill(~candidates, -torch.inf).argmax(1)


@MODELS.register_module()
class MatchingLoss(nn.Module):
    """Cross-entropy of 'these belong together', averaged over the pairs of all ranks.

    Source: MoMo 3.1.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Shapes: logits (P, 2), column 1 for a match; labels (P,) 0 or 1; the result is ()."""
        total = F.cross_entropy(at_least_float32(logits), labels, reduction="sum")
        return global_mean(total, logits.shape[0])
