"""Pictures in the training log of what a pre-training model makes of some examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch.distributed.tensor import DTensor

from momo.datasets import PackedCollate
from momo.models import ITC, MoMoPretrainer
from momo.models.downstream import image_features, restore_patches, text_features
from momo.models.pretrainers import Found
from momo.ops import rank
from momo.registry import DATASETS, HOOKS

from .train_loop import unwrap

ANSWERS = 5  # pictures a caption


@HOOKS.register_module()
class PicturesHook(Hook):
    """Log how a model restores masked images, and what it finds for captions, on the same examples every time.

    'restored_<modality>_<objective>' shows an objective that restores patches, 'found_<modality>' a contrastive one.
    The first process draws alone, asks the others nothing, and changes nothing that training depends on. Where the
    pictures go is for the visualizer's backends to say; the local one puts them into vis_data/vis_image.

    Args:
        interval: Epochs, or with `by_epoch=False` steps, between two drawings.
        count: Examples to restore, and captions to find pictures for.
        gallery: Pairs whose pictures are searched.
        examples: Configs of datasets by modality that the examples come from, evenly over each; where there is none it
            is the training set.
    Raises: ValueError for a number below 1, data of a modality that the model does not have, or another kind of model.
    """

    def __init__(
        self,
        interval: int = 1,
        by_epoch: bool = True,
        count: int = 6,
        gallery: int = 64,
        examples: dict[str, dict] | None = None,
    ) -> None:
        for name, value in (("interval", interval), ("count", count), ("gallery", gallery)):
            if value < 1:
                raise ValueError(f"PicturesHook.{name}={value} must be at least 1")
        self.interval, self.by_epoch, self.count, self.gallery = interval, by_epoch, count, gallery
        self.examples: Mapping[str, dict] = examples or {}
        self._samples: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        if not isinstance(model, MoMoPretrainer):
            raise ValueError(f"PicturesHook shows what a MoMoPretrainer does, not a {type(model).__name__}")
        unknown = set(self.examples) - set(model.modalities)
        if unknown:
            raise ValueError(f"PicturesHook.examples are for {sorted(unknown)}, the model for {list(model.modalities)}")
        self._active = rank() == 0
        if self._active and any(isinstance(parameter, DTensor) for parameter in model.parameters()):
            runner.logger.warning("The model is spread over processes, and one alone cannot run it: no pictures.")
            self._active = False

    def after_train_epoch(self, runner) -> None:
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._draw(runner, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if not self.by_epoch and self.every_n_train_iters(runner, self.interval):
            self._draw(runner, runner.iter + 1)

    def _draw(self, runner, step: int) -> None:
        if not self._active:
            return
        model = unwrap(runner.model)
        training = model.training
        model.eval()
        try:
            for name, picture in self._pictures(runner, model):
                runner.visualizer.add_image(name, picture, step=step)
        finally:
            model.train(training)

    def _pictures(self, runner, model: MoMoPretrainer) -> Iterator[tuple[str, np.ndarray]]:
        """Names and pictures (height, width, 3) uint8, one after the other."""
        for modality, table in model.objectives.items():
            for name, objective in table.items():
                if "pixels" in objective.decoder_outputs:
                    found = Found(modality, name, objective, model.decoders[objective.decoder])
                    samples = self._samples_of(runner, modality, self.count)
                    yield f"restored_{modality}_{name}", restored(model, found, samples)
                elif isinstance(objective, ITC):
                    samples = self._samples_of(runner, modality, self.gallery)
                    yield f"found_{modality}", matches(model, samples, self.count)

    def _samples_of(self, runner, modality: str, count: int) -> list[dict[str, Any]]:
        """Transformed samples, read when they are first drawn: data workers are there then, and share no open file."""
        if (modality, count) not in self._samples:
            if modality in self.examples:
                dataset = DATASETS.build(self.examples[modality])
            else:
                dataset = runner.train_dataloader.loaders[modality].dataset
            self._samples[modality, count] = [dataset[place] for place in evenly(len(dataset), count)]
        return self._samples[modality, count]


def evenly(total: int, count: int) -> list[int]:
    """At most `count` of the numbers below `total`, from 0 on at equal distances."""
    count = min(count, total)
    return [place * total // count for place in range(count)]


def restored(model: MoMoPretrainer, found: Found, samples: list[dict[str, Any]]) -> np.ndarray:
    """The picture of what an objective restores, with captions if the samples have any."""
    from .pictures import draw_reconstruction

    planner = found.objective.planner(model.backbone.patch_size, f"{found.modality}/{found.name}")
    batch = PackedCollate({found.name: replace(planner, max_pairs=None)})(samples)
    titles = [str(samples[place].get("text", "")) for place in batch["order"]]
    return draw_reconstruction(restore_patches(model, found, batch), titles)


@torch.inference_mode()
def matches(model: MoMoPretrainer, samples: list[dict[str, Any]], count: int) -> np.ndarray:
    """The picture of what is most similar to some of the captions, among the pictures of all samples."""
    from .pictures import draw_retrieval

    batch = PackedCollate()(samples)
    inputs = model.data_preprocessor({"any": batch})["inputs"]["any"]
    images = image_features(model, inputs["images"])
    texts = text_features(model, inputs["words"], inputs["positions"], inputs["word_counts"])
    similarity = (texts @ images.T).float().cpu()
    right = batch["text_ids"][:, None] == batch["text_ids"]
    right |= batch["image_ids"][:, None] == batch["image_ids"]
    queries = evenly(len(samples), count)
    rows = []
    for query in queries:
        best = similarity[query].topk(min(ANSWERS, len(samples))).indices.tolist()
        rows.append([(batch["images"][i], float(similarity[query, i]), bool(right[query, i])) for i in best])
    captions = [str(samples[batch["order"][query]].get("text", "")) for query in queries]
    return draw_retrieval(captions, rows)
