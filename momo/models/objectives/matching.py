"""The image-text matching objective (ITM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from momo.models.losses import MatchingLoss, draw_negatives
from momo.ops import check_mask_ratio, keyed_generator, plan_pairs
from momo.registry import MODELS

from .base import Batch, Objective, ObjectiveResult, Request
from .masked import MaskPlanner, check_max_pairs, choose_pairs


class ITMPlan(NamedTuple):
    """What an ITM step needs from the host.

    patches: visible rows of the flat patches. pairs (P,): the true pairs to judge. candidates (B, B): image i and
    text j may be mismatched. noise (2, B, B): standard Gumbel.
    """

    patches: Tensor
    pairs: np.ndarray
    candidates: Tensor
    noise: Tensor


@dataclass(frozen=True)
class ITMPlanner:
    """Visible patches, which pairs of the batch may be mismatched, and the noise that decides among them."""

    image: MaskPlanner
    max_pairs: int | None = None

    def __call__(self, batch: Batch) -> ITMPlan:
        same = batch["image_ids"][:, None] == batch["image_ids"]
        same |= batch["text_ids"][:, None] == batch["text_ids"]
        size = len(batch["keys"])
        noise = [keyed_generator(int(key), self.image.salt, "gumbel").gumbel(size=(2, size)) for key in batch["keys"]]
        return ITMPlan(
            self.image(batch).encode.patches,
            choose_pairs(batch, self.max_pairs),
            torch.from_numpy(~same),
            torch.from_numpy(np.stack(noise, axis=1).astype(np.float32)),
        )


@MODELS.register_module()
class ITM(Objective):
    """Tell a pair from a mismatch, on the [CLS] of the joint sequence.

    Each pair comes with a text that does not belong to its image and an image that does not belong to its text, both
    drawn by the similarity of the contrastive objective. Equal images or equal captions are never drawn; where nothing
    can be drawn, as in a batch of one, the true pair stands alone.

    Args:
        guide: Name of the contrastive objective of the same modality.
        image_mask_ratio: Fraction of patches that the encoder does not see, 0 for whole images; captions stay whole.
        max_pairs: True pairs of a batch to judge, each with its two mismatches; None for all. Mismatches are drawn from
            the whole batch either way. Matching is the costliest objective; fewer pairs leave more for the others.
    Source: MoMo 3.1; [CLS] instead of '[MASK]' as in FLAVA and ALBEF; one image and one text negative a pair
        as in ALBEF.
    """

    def __init__(
        self,
        guide: str = "itc",
        embed_dim: int = 768,
        image_mask_ratio: float = 0.75,
        max_pairs: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_mask_ratio("ITM.image_mask_ratio", image_mask_ratio)
        check_max_pairs("ITM.max_pairs", max_pairs)
        self.max_pairs = max_pairs
        self.guide, self.image_mask_ratio, self.loss_weight = guide, image_mask_ratio, loss_weight
        self.head = nn.Linear(embed_dim, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.matching = MatchingLoss()

    def planner(self, patch_size: int, salt: str) -> ITMPlanner:
        return ITMPlanner(MaskPlanner(patch_size, salt, image_ratio=self.image_mask_ratio), self.max_pairs)

    def request(self, backbone, batch, plan, similarity) -> Request:
        image_index, text_index = mismatched_pairs(plan, similarity)
        patches = backbone.image_embed(batch["images"], plan.patches)
        patches_per_image = len(plan.patches) // len(plan.candidates)
        rows, layout, order = plan_pairs(image_index, text_index, patches_per_image, batch["word_counts"])
        labels = torch.from_numpy((image_index == text_index)[order].astype(np.int64))
        tokens = backbone.assemble([patches, batch["word_tokens"]], rows.to(patches.device), layout)
        return Request([tokens], labels.to(patches.device))

    def loss(self, encoded, batch, plan, backbone, decoder) -> ObjectiveResult:
        logits = self.head(encoded.tokens[0].first())
        accuracy = (logits.detach().argmax(1) == encoded.labels).float().mean()
        return ObjectiveResult({"loss": self.loss_weight * self.matching(logits, encoded.labels), "accuracy": accuracy})


def mismatched_pairs(plan: ITMPlan, similarity: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The true pairs, then each image with a wrong text, then each text with a wrong image.

    How long the joint sequences are depends on what is drawn, so the draw comes back to the host: the one
    synchronisation of a stage 3 step.

    Shapes: similarity (B, B), rows images; the results are (M,) each, M from P to 3P for P pairs to judge.
    """
    texts = draw_negatives(similarity, plan.candidates, plan.noise[0])
    images = draw_negatives(similarity.T, plan.candidates, plan.noise[1])
    texts, images, can_draw = torch.stack([texts, images, plan.candidates.any(1).long()]).cpu().numpy()
    wrong = plan.pairs[can_draw[plan.pairs] > 0]
    return np.concatenate([plan.pairs, wrong, images[wrong]]), np.concatenate([plan.pairs, texts[wrong], wrong])
