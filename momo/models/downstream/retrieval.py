"""Compare images and texts with a pre-training model, as retrieval and zero-shot classification do.

All inputs are whole: nothing is masked in evaluation.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from momo.models.objectives import ITC, ITM
from momo.models.pretrainers import MoMoPretrainer, find_objective
from momo.ops import at_least_float32


def image_features(model: MoMoPretrainer, images: Tensor) -> Tensor:
    """Unit-length features (B, D) of normalised images (B, channels, H, W), for dot products with `text_features`.

    Raises: ValueError if the model has no contrastive objective.
    """
    neck = find_objective(model, ITC).objective.neck
    return neck.project_image(model.backbone.encode_images(images, neck.cls_only))


def text_features(model: MoMoPretrainer, words: Tensor, positions: Tensor, word_counts: np.ndarray) -> Tensor:
    """Unit-length features (B, D) of texts: words, positions (T,) of all of them back to back, word_counts (B,).

    Raises: ValueError if the model has no contrastive objective.
    """
    neck = find_objective(model, ITC).objective.neck
    return neck.project_text(model.backbone.encode_texts(words, positions, word_counts, neck.cls_only))


def class_features(prompts: Tensor) -> Tensor:
    """What stands for a class in zero-shot classification: the mean of its prompts' features, at unit length.

    Shapes: prompts (..., P, D), of P prompts a class; the result is (..., D).
    Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4.
    """
    return F.normalize(prompts.mean(-2), dim=-1)


def match_scores(
    model: MoMoPretrainer, images: Tensor, words: Tensor, positions: Tensor, word_counts: np.ndarray
) -> Tensor:
    """Log-odds (B,) that image i and text i belong together, by the matching objective's head.

    They order pairs as the probability of a match does, and still tell apart those whose probability rounds to 1.

    Shapes: as in `image_features` and `text_features`, B of each.
    Raises: ValueError if the model has no matching objective.
    """
    head = find_objective(model, ITM).objective.head
    encoded = model.backbone.encode_pairs(images, words, positions, word_counts, cls_only=True)
    logits = at_least_float32(head(encoded.first()))
    return logits[:, 1] - logits[:, 0]
