"""Losses on what was hidden: pixels of patches, words of texts."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from momo.models.layers import recomputed
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

    Logits are the largest tensors of a step: 30,522 numbers a word, several times over. Of more than `chunk_words`
    words they are computed chunk by chunk, and again in backward, so that one chunk's are there at a time. The loss and
    its gradient stay what they are.

    Args:
        chunk_words: Most words whose logits are there at a time; None for all. The default
            is above what 64 documents of 512 words hide, 4,915 (MoMo 3.2, 3.6).
    Raises: ValueError if chunk_words is below 1.
    Source: MoMo Eq. 2 (a sum there; the mean, as BERT's code takes it, does not grow with the batch).
    """

    def __init__(self, chunk_words: int | None = 8192) -> None:
        super().__init__()
        if chunk_words is not None and chunk_words < 1:
            raise ValueError(f"chunk_words={chunk_words} must be at least 1, or None for all words at once")
        self.chunk_words = chunk_words

    def forward(
        self, features: Tensor, target: Tensor, head: Callable[[Tensor], Tensor] = lambda logits: logits
    ) -> Tensor:
        """Shapes: features (M, C), target (M,) ids, hidden words only; the result is (), 0 where M is 0.

        Args:
            head: From features (m, C) to logits (m, vocabulary); without one, features are logits.
        """
        words = features.shape[0]
        if self.chunk_words is None or words <= self.chunk_words:
            total = _cross_entropy(features, target, head)
        else:
            number = -(-words // self.chunk_words)
            chunks = zip(features.tensor_split(number), target.tensor_split(number), strict=True)
            total = sum(recomputed(_cross_entropy, *chunk, head) for chunk in chunks)
        return global_mean(total, words)


def _cross_entropy(features: Tensor, target: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    return F.cross_entropy(at_least_float32(head(features)), target, reduction="sum")
