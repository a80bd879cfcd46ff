"""Linear evaluation of a frozen encoder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader

from momo.evaluation import linear_probe
from momo.evaluation.linear_probe import STRENGTHS, Labelled
from momo.ops import rank
from momo.registry import LOOPS

from .embed import as_sampled, embed_share, gather_shares, share_of
from .shards import whole
from .whole_set_loop import WholeSetLoop

SPLITS = ("train", "val", "test")
HEARTBEAT = 60.0  # seconds; processes that wait longer for a message give up, by default after 10 minutes


@LOOPS.register_module()
class LinearProbeLoop(WholeSetLoop):
    """Extract features of three splits once, fit a logistic regression, hand its test predictions to the evaluator.

    The encoder runs over all processes; the fit on the first one. Features are kept in a file a split, named after the
    weights, the model's and the data's settings and the number of samples, so that a second run, or another classifier,
    does not run the encoder again. Who replaces pictures of a set by as many others empties the folder.

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
        super().__init__(runner, dataloader, evaluator, names=SPLITS[::-1], purpose="a linear probe")
        self.strengths = tuple(strengths)
        self.cache_dir = Path(cache_dir or Path(runner.work_dir, "features"))

    def measure(self) -> tuple[list[dict[str, int]], int]:
        name = self._name_of_encoder()
        splits = [self._features(split, name) for split in SPLITS]
        predicted, labels = self._fit(splits) if rank() == 0 else _wait()
        share = share_of(len(labels)).tolist()
        return [{"pred_label": int(predicted[i]), "gt_label": int(labels[i])} for i in share], len(labels)

    def _fit(self, splits: list[Labelled]) -> Labelled:
        """Predictions and labels of the test split, handed to the other processes too."""
        told = [time.monotonic()]

        def still_fitting() -> None:
            if time.monotonic() - told[-1] > HEARTBEAT:
                broadcast_object_list([None])
                told.append(time.monotonic())

        device = next(self.model.parameters()).device
        result = linear_probe(*splits, self.strengths, device, still_fitting)
        scores = ", ".join(f"{strength:.3g}: {score:.4f}" for strength, score in sorted(result.scores.items()))
        self.runner.logger.info(
            f"Accuracy on the validation split, by inverse regularisation: {scores}. Chosen: {result.chosen_c:.3g}; "
            f"fitted in {time.monotonic() - told[0]:.0f} s"
        )
        broadcast_object_list([(result.predicted, splits[-1][1])])
        return result.predicted, splits[-1][1]

    def _name_of_encoder(self) -> str:
        return weights_hash(self.model) + _text(self.runner.cfg.get("model"))

    def _features(self, split: str, encoder: str) -> Labelled | None:
        """Features and labels of a split on the first process, from the file if it is there."""
        loader = self.loaders[split]
        name = f"{encoder} {_text(self.settings[split]['dataset'])} {len(loader.dataset)}"
        path = self.cache_dir / f"{split}_{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"
        there = [path.is_file()]
        broadcast_object_list(there)  # the first process decides, or one might find what another has just written
        if not there[0]:
            features, labels = self._extract(split, loader)
            if rank() == 0:
                self.cache_dir.mkdir(parents=True, exist_ok=True)
                unfinished = path.with_suffix(".unfinished.npz")
                np.savez(unfinished, features=features, labels=labels)
                unfinished.replace(path)
            return features, labels
        if rank() > 0:
            return None
        with np.load(path, allow_pickle=False) as stored:
            return stored["features"], stored["labels"]

    def _extract(self, name: str, loader: DataLoader) -> Labelled:
        model, labels = self.model, []
        share = embed_share(
            loader,
            "image",
            model,
            lambda batch: model({"image": batch}, mode="tensor").float(),
            lambda batch: labels.append(as_sampled(batch["labels"], batch["order"])),
        )
        total = len(loader.dataset)
        features = gather_shares(share, total).cpu().numpy()
        return features, gather_shares(torch.cat(labels).to(share.device), total).cpu().numpy()


def _wait() -> Labelled:
    """What the first process hands out when its fit is done; until then it says now and then that it is alive."""
    message: list[Labelled | None] = [None]
    while message[0] is None:
        message = [None]
        broadcast_object_list(message)
    return message[0]


def _text(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def weights_hash(model: nn.Module) -> str:
    """A name for the weights, equal for equal ones."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(whole(value).detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
