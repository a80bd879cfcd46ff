"""Zero-shot image classification by prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.runner import BaseLoop
from torch import Tensor
from torch.nn import functional as F

from momo.datasets import build_loader
from momo.evaluation import TEMPLATES
from momo.models.downstream import image_features, text_features
from momo.registry import LOOPS, TRANSFORMS

from .embed import embed_share
from .loaders import EvaluationLoader
from .train_loop import unwrap


@LOOPS.register_module()
class ZeroShotLoop(BaseLoop):
    """Give each image the class whose prompts its features are most similar to.

    The features of a class are the mean of those of its prompts, brought back to unit length.

    Args:
        dataloader: Config with a loader 'image', whose dataset has `name` and `class_names`.
        evaluator: Metrics of pred_label and gt_label, such as Classification.
        tokenize: Config of the transform that cuts prompts into words.
        templates: Sentences with {} for the class; None takes those of TEMPLATES for the dataset's name.
    Raises: ValueError for other loaders, or a template without {}.
    Source: Radford et al. 2021, arXiv:2103.00020, section 3.1.4. Not in the paper.
    """

    def __init__(
        self, runner, dataloader: dict, evaluator: dict | list, tokenize: dict, templates: Sequence[str] | None = None
    ) -> None:
        if set(dataloader["loaders"]) != {"image"}:
            raise ValueError(f"test_dataloader.loaders are {sorted(dataloader['loaders'])}, zero-shot needs 'image'")
        shared = {key: value for key, value in dataloader.items() if key != "loaders"}
        self.loader = build_loader({**shared, **dataloader["loaders"]["image"]}, {}, seed=0, training=False)
        self.templates = tuple(templates or TEMPLATES[self.loader.dataset.name])
        if not all("{}" in template for template in self.templates):
            raise ValueError(f"test_cfg.templates={list(self.templates)}: each needs {{}} where the class goes")
        self.tokenize = TRANSFORMS.build(tokenize)
        super().__init__(runner, EvaluationLoader({"image": self.loader}))
        self.evaluator = runner.build_evaluator(evaluator)

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        model, labels = unwrap(self.runner.model), []
        classes = self._class_features()
        similarity = embed_share(
            self.loader,
            "image",
            model,
            lambda batch: image_features(model, batch["images"]) @ classes.T,
            lambda batch: labels.extend(batch["labels"].tolist()),
        )
        predicted = similarity.argmax(1).tolist()
        self.evaluator.process(
            [{"pred_label": guess, "gt_label": label} for guess, label in zip(predicted, labels, strict=True)]
        )
        metrics = self.evaluator.evaluate(len(self.loader.dataset))
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    def _class_features(self) -> Tensor:
        """Features (classes, D), unit length."""
        model, names = unwrap(self.runner.model), self.loader.dataset.class_names
        rows = []
        for name in names:
            texts = [
                self.tokenize({"sample_id": f"prompt {name!r}", "text": template.format(name)})["words"]
                for template in self.templates
            ]
            counts = np.array([len(text) for text in texts])
            words, positions = np.concatenate(texts), np.concatenate([np.arange(count) for count in counts])
            device = model.backbone.cls_token.device
            features = text_features(model, *(torch.from_numpy(x).to(device) for x in (words, positions)), counts)
            rows.append(F.normalize(features.mean(0), dim=0))
        return torch.stack(rows)
