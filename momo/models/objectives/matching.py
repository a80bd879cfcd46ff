"""The image-text matching objective (ITM)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from momo.models.losses import MatchingLoss, draw_negatives
from momo.ops import check_mask_ratio, keyed_generator, plan_pairs
from momo.registry import MODELS

from .base import Batch, Objective, ObjectiveResult, Request
from .masked import MaskPlanner, check_max_pairs, choose_pairs


class ITMPlan(NamedTuple):
    """What an ITM step needs from the host.

    patches, words: visible rows of the flat patches and of the words; word_counts (B,): visible words of each text.
    pairs (P,): the true pairs to judge. candidates (B, B): image i and text j may be mismatched. noise (2, B, B):
    standard Gumbel.
    """

    patches: Tensor
    words: Tensor
    word_counts: np.ndarray
    pairs: np.ndarray
    candidates: Tensor
    noise: Tensor


@dataclass(frozen=True)
class ITMPlanner:
    """What is visible, which pairs of the batch may be mismatched, and the noise that decides among them."""

    masks: MaskPlanner
    max_pairs: int | None = None

    def with_masks_of(self, other: MaskPlanner) -> ITMPlanner:
        """Mismatch what another objective sees of each pair; it may mask fewer pairs of a batch."""
        return replace(self, masks=replace(other, max_pairs=None))

    def __call__(self, batch: Batch) -> ITMPlan:
        same = batch["image_ids"][:, None] == batch["image_ids"]
        same |= batch["text_ids"][:, None] == batch["text_ids"]
        size = len(batch["keys"])
        noise = [keyed_generator(int(key), self.masks.salt, "gumbel").gumbel(size=(2, size)) for key in batch["keys"]]
        encode = self.masks(batch).encode
        return ITMPlan(
            encode.patches,
            encode.words,
            np.array(encode.layout.lengths) - 1 - len(encode.patches) // size,
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

    With `reuses`, the true pairs are not encoded again: they are judged by the [CLS] of CMM's masked pairs. Mismatches
    are then made of the patches and words that CMM's masks leave, or else a whole caption would give them away. So
    captions are judged by the few words that are left, which is not what the paper describes.

    Args:
        guide: Name of the contrastive objective of the same modality.
        reuses: Name of the CMM objective of the same modality that encodes the true pairs; None encodes them here.
        image_mask_ratio: Fraction of patches that the encoder does not see, 0 for whole images; captions stay whole.
            With `reuses`, masks are that objective's.
        max_pairs: True pairs of a batch to judge, each with its two mismatches; None for all. Mismatches are drawn from
            the whole batch either way. Matching is the costliest objective; fewer pairs leave more for the others.
    Source: MoMo 3.1; [CLS] instead of '[MASK]' as in FLAVA and ALBEF; one image and one text negative a pair
        as in ALBEF.
    """

    def __init__(
        self,
        guide: str = "itc",
        reuses: str | None = None,
        embed_dim: int = 768,
        image_mask_ratio: float = 0.75,
        max_pairs: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_mask_ratio("ITM.image_mask_ratio", image_mask_ratio)
        check_max_pairs("ITM.max_pairs", max_pairs)
        self.max_pairs = max_pairs
        self.guide, self.reuses = guide, reuses
        self.image_mask_ratio, self.loss_weight = image_mask_ratio, loss_weight
        self.head = nn.Linear(embed_dim, 2)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.matching = MatchingLoss()

    def planner(self, patch_size: int, salt: str) -> ITMPlanner:
        return ITMPlanner(MaskPlanner(patch_size, salt, self.image_mask_ratio, text_ratio=0.0), self.max_pairs)

    def request(self, backbone, batch, plan, similarity) -> Request:
        image_index, text_index = mismatched_pairs(plan, similarity)
        if self.reuses is not None:  # true pairs come first in both
            image_index, text_index = image_index[len(plan.pairs) :], text_index[len(plan.pairs) :]
        patches_per_image = len(plan.patches) // len(plan.candidates)
        rows, layout, order = plan_pairs(image_index, text_index, patches_per_image, plan.word_counts)
        labels = (image_index == text_index)[order].astype(np.int64)
        if self.reuses is not None:
            labels = np.concatenate([labels, np.ones_like(plan.pairs)])
        labels = torch.from_numpy(labels).to(batch["images"].device)
        if not layout.num_tokens:  # nothing to mismatch
            return Request([], labels)
        tokens = [backbone.image_embed(batch["images"], plan.patches), F.embedding(plan.words, batch["word_tokens"])]
        return Request([backbone.assemble(tokens, rows.to(labels.device), layout)], labels, cls_only=True)

    def loss(self, encoded, batch, plan, backbone, decoder) -> ObjectiveResult:
        logits = self.head(torch.cat([tokens.first() for tokens in encoded.tokens]))
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
