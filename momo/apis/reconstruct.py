"""Show what a model makes of masked images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from momo.models import CMM, MIM, MoMoPretrainer
from momo.models.downstream import Reconstruction, restore_patches
from momo.models.objectives.base import Batch
from momo.models.objectives.masked import MaskPlanner
from momo.models.pretrainers import find_objective
from momo.ops import check_mask_ratio, key_of

from .base import Inferencer
from .embed import pack_texts
from .inputs import ImageSource, as_list, as_texts, one_each


def reconstruct_images(model: MoMoPretrainer, batch: Batch) -> Reconstruction:
    """Hide patches of images as training does, and let the model fill them in.

    Which patches are hidden is a function of each sample's key and of nothing else, so two models that see the same
    batch can be compared patch by patch. See `restore_patches` for a model that predicts normalised pixels.

    Args:
        batch: What `PackedCollate(model.planners('image'))` returns, images still as bytes.
    Raises: ValueError if the model has no masked-image objective.
    """
    return restore_patches(model, find_objective(model, MIM), batch)


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
            parts.append(restore_patches(self.model, found, batch))
            done += len(pixels)
        return Reconstruction(*map(torch.cat, zip(*parts, strict=True)))

    def _words(self, texts: list[str] | None) -> Batch:
        if texts is None:
            none = torch.empty(0, dtype=torch.int64)
            return {"words": none, "positions": none} if self.model.backbone.text_embed is not None else {}
        words, positions, counts = pack_texts(texts, self.tokenizer, self.model.backbone.text_embed.max_len)
        return {"words": words, "positions": positions, "word_counts": counts}
