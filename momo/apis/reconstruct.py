"""Show what a model makes of masked images."""

from __future__ import annotations

from momo.models import MIM, MoMoPretrainer
from momo.models.downstream import Reconstruction, restore_patches
from momo.models.objectives.base import Batch
from momo.models.pretrainers import find_objective


def reconstruct_images(model: MoMoPretrainer, batch: Batch) -> Reconstruction:
    """Hide patches of images as training does, and let the model fill them in.

    Which patches are hidden is a function of each sample's key and of nothing else, so two models that see the same
    batch can be compared patch by patch. See `restore_patches` for a model that predicts normalised pixels.

    Args:
        batch: What `PackedCollate(model.planners('image'))` returns, images still as bytes.
    Raises: ValueError if the model has no masked-image objective.
    """
    return restore_patches(model, find_objective(model, MIM), batch)
