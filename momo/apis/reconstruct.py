"""Show what a model makes of masked images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from momo.models import MIM, MoMoPretrainer
from momo.models.objectives.base import Batch
from momo.models.pretrainers import find_objective
from momo.ops import denormalize_patches, grid_size, patchify, unpatchify


class Reconstruction(NamedTuple):
    """original, restored (B, 3, H, W) uint8, equal wherever a patch was visible. hidden (B, 1, H, W): True = masked."""

    original: Tensor
    restored: Tensor
    hidden: Tensor


@torch.inference_mode()
def reconstruct_images(model: MoMoPretrainer, batch: Batch) -> Reconstruction:
    """Hide patches of images as training does, and let the model fill them in.

    Which patches are hidden is a function of each sample's key and of nothing else, so two models that see the same
    batch can be compared patch by patch. A model that predicts normalised pixels knows neither the mean nor the
    contrast of a patch; its predictions get both from the original, as MAE's own pictures do.

    Args:
        batch: What `PackedCollate(model.planners('image'))` returns, images still as bytes.
    Raises: ValueError if the model has no masked-image objective.
    """
    modality, name, objective, decoder = find_objective(model, MIM)
    backbone, preprocessor = model.backbone, model.data_preprocessor
    inputs = preprocessor({modality: batch})["inputs"][modality]
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
