"""Linear evaluation of a frozen encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from mmengine.runner import BaseLoop
from torch import nn
from torch.utils.data import DataLoader

from momo.datasets import build_loader
from momo.evaluation import linear_probe
from momo.evaluation.linear_probe import STRENGTHS, Labelled
from momo.ops import rank
from momo.registry import LOOPS

from .embed import embed_share, gather_shares, share_of
from .loaders import EvaluationLoader
from .train_loop import unwrap

SPLITS = ("train", "val", "test")


@LOOPS.register_module()
class LinearProbeLoop(BaseLoop):
    """Extract features of three splits once, fit a logistic regression, hand its test predictions to the evaluator.

    The encoder runs over all processes; the fit on the first one. Features are kept in a file a split, named after the
    weights and the data's settings, so that a second run, or another classifier, does not run the encoder again.

    Args:
        dataloader: Config with loaders 'train', 'val' and 'test' of images with labels.
        evaluator: Metrics of pred_label and gt_label, such as Classification.
        strengths: See `linear_probe`.
        cache_dir: Folder of the features; None takes 'features' in the work_dir.
    Raises: ValueError for other loaders.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator: dict | list,
        strengths: Sequence[float] = STRENGTHS,
        cache_dir: str | None = None,
    ) -> None:
        self.settings = {name: dict(cfg) for name, cfg in dataloader["loaders"].items()}
        if set(self.settings) != set(SPLITS):
            raise ValueError(f"test_dataloader.loaders are {sorted(self.settings)}, a linear probe needs {SPLITS}")
        shared = {key: value for key, value in dataloader.items() if key != "loaders"}
        self.loaders = {
            name: build_loader({**shared, **self.settings[name]}, {}, seed=0, training=False) for name in SPLITS
        }
        super().__init__(runner, EvaluationLoader({"test": self.loaders["test"]}))
        self.evaluator = runner.build_evaluator(evaluator)
        self.strengths = tuple(strengths)
        self.cache_dir = Path(cache_dir or Path(runner.work_dir, "features"))

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        weights = weights_hash(unwrap(self.runner.model))
        splits = {name: self._features(name, weights) for name in SPLITS}
        predicted = [None]
        if rank() == 0:
            result = linear_probe(splits["train"], splits["val"], splits["test"], self.strengths)
            self.runner.logger.info(f"regularisation chosen on the validation split: C = {result.chosen_c:g}")
            predicted = [result.predicted]
        broadcast_object_list(predicted)
        labels = splits["test"][1]
        share = share_of(len(labels)).tolist()
        self.evaluator.process([{"pred_label": int(predicted[0][i]), "gt_label": int(labels[i])} for i in share])
        metrics = self.evaluator.evaluate(len(labels))
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    def _features(self, name: str, weights: str) -> Labelled:
        """Features and labels of a split, from the file if it is there; the same on every process."""
        key = json.dumps(self.settings[name]["dataset"], sort_keys=True, default=str)
        path = self.cache_dir / f"{name}_{hashlib.sha256((weights + key).encode()).hexdigest()[:16]}.npz"
        there = [path.is_file()]
        broadcast_object_list(there)  # the first process decides, or one might find what another has just written
        if not there[0]:
            features, labels = self._extract(name, self.loaders[name])
            if rank() == 0:
                self.cache_dir.mkdir(parents=True, exist_ok=True)
                unfinished = path.with_suffix(".unfinished.npz")
                np.savez(unfinished, features=features, labels=labels)
                unfinished.replace(path)
            return features, labels
        with np.load(path, allow_pickle=False) as stored:
            return stored["features"], stored["labels"]

    def _extract(self, name: str, loader: DataLoader) -> Labelled:
        model, labels = unwrap(self.runner.model), []
        share = embed_share(
            loader,
            "image",
            model,
            lambda batch: model({"image": batch}, mode="tensor").float(),
            lambda batch: labels.append(batch["labels"]),
        )
        total = len(loader.dataset)
        features = gather_shares(share, total).cpu().numpy()
        return features, gather_shares(torch.cat(labels).to(share.device), total).cpu().numpy()


def weights_hash(model: nn.Module) -> str:
    """A name for the weights, equal for equal ones."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
