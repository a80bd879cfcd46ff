"""Show what a pre-training model makes of images of which it sees a part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from momo.models.objectives.base import Batch
from momo.models.pretrainers import Found, MoMoPretrainer
from momo.ops import denormalize_patches, grid_size, patchify, unpatchify

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


@torch.inference_mode()
def restore_patches(model: MoMoPretrainer, found: Found, batch: Batch) -> Reconstruction:
    """Fill in the patches that the batch's plan for an objective hides: masked images, or pairs.

    A model that predicts normalised pixels knows neither the mean nor the contrast of a patch; its predictions get both
    from the original, as MAE's own pictures do.

    Args:
        found: An objective whose decoder predicts pixels.
        batch: What `PackedCollate` returns with that objective's planner, images still as bytes.
    """
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
