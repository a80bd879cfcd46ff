"""Masked modelling: images (MIM), language (MLM), and both at once (CMM)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from momo.models.backbones.momo_vit import MoMoViT
from momo.models.losses import MaskedImageLoss, MaskedLanguageLoss
from momo.ops import (
    DecodePlan,
    EncodePlan,
    PackedTokens,
    check_mask_ratio,
    grid_size,
    keyed_generator,
    patchify,
    plan_sequences,
    plan_subset,
    random_masking,
)
from momo.registry import MODELS

from .base import Batch, Objective, ObjectiveResult, Request


class MaskedPlan(NamedTuple):
    encode: EncodePlan
    decode: DecodePlan


def check_max_pairs(name: str, max_pairs: int | None) -> None:
    """Raises: ValueError with the name if it is below 1."""
    if max_pairs is not None and max_pairs < 1:
        raise ValueError(
            f"{name} must be at least 1, or None for all pairs, got {max_pairs}; delete the objective to switch it off"
        )


def choose_pairs(batch: Batch, max_pairs: int | None) -> np.ndarray:
    """Places of at most `max_pairs` samples of a batch, None for all; random, because the keys that decide are."""
    return np.sort(np.argsort(batch["keys"], kind="stable")[:max_pairs])


@dataclass(frozen=True)
class MaskPlanner:
    """Draws masks as a function of each sample's key. A ratio of None: that part is not in the sequence."""

    patch_size: int
    salt: str
    image_ratio: float | None = None
    text_ratio: float | None = None
    max_pairs: int | None = None

    def __call__(self, batch: Batch) -> MaskedPlan:
        size, num_patches = len(batch["keys"]), 0
        counts = np.zeros(size, dtype=np.int64)
        if self.image_ratio is not None:
            num_patches = int(np.prod(grid_size(*batch["images"].shape[-2:], self.patch_size)))
        if self.text_ratio is not None:
            counts = batch["word_counts"]
        chosen = choose_pairs(batch, self.max_pairs)
        draws = [keyed_generator(int(batch["keys"][i]), self.salt).random(num_patches + counts[i]) for i in chosen]
        hidden_patches = hidden_words = None
        if self.image_ratio is not None:
            noise = np.concatenate([draw[:num_patches] for draw in draws])
            hidden_patches = random_masking(np.full(len(chosen), num_patches), self.image_ratio, noise)
        if self.text_ratio is not None:
            noise = np.concatenate([draw[num_patches:] for draw in draws])
            hidden_words = random_masking(counts[chosen], self.text_ratio, noise)
        plans = plan_sequences(len(chosen), num_patches, counts[chosen], hidden_patches, hidden_words)
        if len(chosen) < size:
            plans = plan_subset(*plans, chosen, num_patches, counts)
        return MaskedPlan(*plans)


class _MaskedModeling(Objective):
    """Encode the visible part, restore the rest through a decoder, compare."""

    image_mask_ratio: float | None = None
    text_mask_ratio: float | None = None
    max_pairs: int | None = None

    def __init__(
        self, decoder: str, norm_pix: bool = False, chunk_words: int | None = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.decoder, self.loss_weight = decoder, loss_weight
        self.image_loss, self.language_loss = MaskedImageLoss(norm_pix), MaskedLanguageLoss(chunk_words)

    def planner(self, patch_size: int, salt: str) -> MaskPlanner:
        return MaskPlanner(patch_size, salt, self.image_mask_ratio, self.text_mask_ratio, self.max_pairs)

    def decode(self, encoded: PackedTokens, batch: Batch, plan: MaskedPlan, backbone: MoMoViT, decoder: nn.Module):
        """The decoder's output over the full sequences."""
        grid = None
        if self.image_mask_ratio is not None:
            grid = grid_size(*batch["images"].shape[-2:], backbone.patch_size)
        return decoder(encoded, plan.decode, grid)

    def loss(self, encoded, batch, plan, backbone, decoder) -> ObjectiveResult:
        decoded = self.decode(encoded.tokens[0], batch, plan, backbone, decoder)
        losses: dict[str, Tensor] = {}
        if self.image_mask_ratio is not None:
            patches = patchify(batch["images"], backbone.patch_size).flatten(0, 1)
            target = patches.index_select(0, plan.decode.hidden_patches)
            pixels = decoder.predict_pixels(decoded, plan.decode.hidden_patch_rows)
            losses["loss_pixels"] = self.loss_weight * self.image_loss(pixels, target)
        if self.text_mask_ratio is not None:
            target = batch["words"].index_select(0, plan.decode.hidden_words)
            features = decoder.word_features(decoded, plan.decode.hidden_word_rows)
            head = partial(decoder.word_logits, word_embedding=backbone.text_embed.words.weight)
            losses["loss_words"] = self.loss_weight * self.language_loss(features, target, head)
        return ObjectiveResult(losses)


@MODELS.register_module()
class MIM(_MaskedModeling):
    """Masked image modelling.

    Args:
        decoder: Name of a decoder with pixel output.
        mask_ratio: Fraction of patches to hide (MoMo 3.2: 0.75 in stages 1 and 2).
        norm_pix: See MaskedImageLoss.
    Source: MoMo Eq. 1.
    """

    decoder_outputs = ("pixels",)

    def __init__(
        self, decoder: str, mask_ratio: float = 0.75, norm_pix: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__(decoder, norm_pix, loss_weight=loss_weight)
        check_mask_ratio("MIM.mask_ratio", mask_ratio)
        self.image_mask_ratio = mask_ratio

    def request(self, backbone, batch, plan, similarity) -> Request:
        return Request([backbone.embed_image(batch["images"], plan.encode)])


@MODELS.register_module()
class MLM(_MaskedModeling):
    """Masked language modelling; hidden words are removed from the encoder, not replaced by [MASK] there.

    Args:
        decoder: Name of a decoder with token output.
        mask_ratio: Fraction of words to hide (MoMo 3.2: 0.15 in stages 2 and 3).
        chunk_words: See MaskedLanguageLoss.
    Source: MoMo Eq. 2.
    """

    decoder_outputs = ("tokens",)

    def __init__(
        self, decoder: str, mask_ratio: float = 0.15, chunk_words: int | None = 8192, loss_weight: float = 1.0
    ) -> None:
        super().__init__(decoder, chunk_words=chunk_words, loss_weight=loss_weight)
        check_mask_ratio("MLM.mask_ratio", mask_ratio)
        self.text_mask_ratio = mask_ratio

    def request(self, backbone, batch, plan, similarity) -> Request:
        return Request([backbone.embed_text(batch["word_tokens"], plan.encode)])


@MODELS.register_module()
class CMM(_MaskedModeling):
    """Cross-modal masking: patches and words of a pair are both hidden, each restored with the help of the other.

    Args:
        decoder: Name of a decoder with pixel and token output.
        image_mask_ratio, text_mask_ratio: Fractions to hide (MoMo 3.1: 0.75 of both).
        norm_pix: See MaskedImageLoss.
        chunk_words: See MaskedLanguageLoss.
        max_pairs: Pairs of a batch to mask and restore, None for all; fewer leave more time for the other objectives.
    Source: MoMo Eq. 3.
    """

    decoder_outputs = ("pixels", "tokens")
    encodes_pairs = True

    def __init__(
        self,
        decoder: str,
        image_mask_ratio: float = 0.75,
        text_mask_ratio: float = 0.75,
        norm_pix: bool = False,
        max_pairs: int | None = None,
        chunk_words: int | None = 8192,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(decoder, norm_pix, chunk_words, loss_weight)
        check_mask_ratio("CMM.image_mask_ratio", image_mask_ratio)
        check_mask_ratio("CMM.text_mask_ratio", text_mask_ratio)
        check_max_pairs("CMM.max_pairs", max_pairs)
        self.image_mask_ratio, self.text_mask_ratio, self.max_pairs = image_mask_ratio, text_mask_ratio, max_pairs

    def request(self, backbone, batch, plan, similarity) -> Request:
        return Request([backbone.embed_pair(batch["images"], batch["word_tokens"], plan.encode)])
