"""Show what a model makes of masked images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from momo.models import CMM, MIM, MoMoPretrainer
from momo.models.objectives.base import Batch
from momo.models.objectives.masked import MaskPlanner
from momo.models.pretrainers import Found, find_objective
from momo.ops import check_mask_ratio, denormalize_patches, grid_size, key_of, patchify, unpatchify

from .base import Inferencer
from .embed import pack_texts
from .inputs import ImageSource, as_list, as_texts, one_each

HIDDEN_GREY = 128


class Reconstruction(NamedTuple):
    """original, restored (B, 3, H, W) uint8, equal wherever a patch was visible. hidden (B, 1, H, W): True = masked."""

    original: Tensor
    restored: Tensor
    hidden: Tensor

    @property
    def masked(self) -> Tensor:
        """What the model saw, grey where it saw nothing: (B, 3, H, W) uint8."""
        return self.original.masked_fill(self.hidden, HIDDEN_GREY)


def reconstruct_images(model: MoMoPretrainer, batch: Batch) -> Reconstruction:
    """Hide patches of images as training does, and let the model fill them in.

    Which patches are hidden is a function of each sample's key and of nothing else, so two models that see the same
    batch can be compared patch by patch. A model that predicts normalised pixels knows neither the mean nor the
    contrast of a patch; its predictions get both from the original, as MAE's own pictures do.

    Args:
        batch: What `PackedCollate(model.planners('image'))` returns, images still as bytes.
    Raises: ValueError if the model has no masked-image objective.
    """
    return _restore(model, find_objective(model, MIM), batch)


@torch.inference_mode()
def _restore(model: MoMoPretrainer, found: Found, batch: Batch) -> Reconstruction:
    """Fill in the patches that the batch's plan for an objective, MIM or CMM, hides."""
    modality, name, objective, decoder = found
    backbone, preprocessor = model.backbone, model.data_preprocessor
    inputs = model.with_word_tokens(preprocessor({modality: batch})["inputs"])[modality]
    plan, patch = inputs["plans"][name], backbone.patch_size
    encoded = backbone.encode(objective.request(backbone, inputs, plan, None).tokens[0])
    decoded = objective.decode(encoded, inputs, plan, backbone, decoder)
    pixels = decoder.predict_pixels(decoded, plan.decode.hidden_patch_rows).float()

    patches = patchify(inputs["images"], patch)
    rows = plan.decode.hidden_patches
    if objective.image_loss.norm_pix:
        pixels = denormalize_patches(pixels, patches.flatten(0, 1).index_select(0, rows))
    grid = grid_size(*inputs["images"].shape[-2:], patch)
    filled = patches.flatten(0, 1).index_copy(0, rows, pixels).view_as(patches)
    hidden = torch.zeros_like(patches, dtype=torch.bool).flatten(0, 1).index_fill(0, rows, True).view_as(patches)
    filled = preprocessor.denormalize(unpatchify(filled, grid, patch)).round().byte().cpu()
    hidden = unpatchify(hidden, grid, patch)[:, :1].cpu()
    original = batch["images"].cpu()
    return Reconstruction(original, torch.where(hidden, filled, original), hidden)


class ReconstructionInferencer(Inferencer):
    """Hide a part of images and restore it: from the rest, or where the model was trained on pairs, from the rest and a
    caption. See Inferencer.
    """

    needs = (MIM, CMM)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        captions: str | Sequence[str] | None = None,
        mask_ratio: float = 0.75,
        seed: int = 0,
        batch_size: int = 64,
    ) -> Reconstruction:
        """Restore images at the model's size; a larger ratio hides the same patches and others too.

        Args:
            captions: One for each image, read whole; None shows the model nothing but patches.
            mask_ratio: Fraction of patches to hide, in [0, 1).
            seed: Which patches; they also depend on an image's place.
        Raises: ValueError for a ratio outside [0, 1), captions for a model that knows none, or another number of them,
            or an image that cannot be read.
        """
        check_mask_ratio("mask_ratio", mask_ratio)
        images = as_list(images, "images")
        if captions is None:
            found, texts = find_objective(self.model, MIM, CMM), None
        else:
            found, texts = find_objective(self.model, CMM), as_texts(captions, "captions")
            one_each(images, texts, ("images", "captions"))
        ratios = dict(image_ratio=mask_ratio, text_ratio=None if texts is None else 0.0)
        planner, parts, done = MaskPlanner(self.model.backbone.patch_size, "reconstruct", **ratios), [], 0
        for pixels in self.read(images, batch_size, "restore"):
            places = range(done, done + len(pixels))
            batch = {"images": pixels, "keys": np.array([key_of(seed, place) for place in places], dtype=np.uint64)}
            batch |= self._words(None if texts is None else [texts[place] for place in places])
            batch["plans"] = {found.name: planner(batch)}
            parts.append(_restore(self.model, found, batch))
            done += len(pixels)
        return Reconstruction(*map(torch.cat, zip(*parts, strict=True)))

    def _words(self, texts: list[str] | None) -> Batch:
        if texts is None:
            none = torch.empty(0, dtype=torch.int64)
            return {"words": none, "positions": none} if self.model.backbone.text_embed is not None else {}
        words, positions, counts = pack_texts(texts, self.tokenizer, self.model.backbone.text_embed.max_len)
        return {"words": words, "positions": positions, "word_counts": counts}
