"""Zero-shot image classification by prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from momo.datasets import PackedCollate
from momo.evaluation import TEMPLATES
from momo.models.downstream import class_features, image_features, text_features
from momo.registry import LOOPS, TRANSFORMS

from .embed import embed_share
from .loaders import text_limits
from .whole_set_loop import WholeSetLoop


@LOOPS.register_module()
class ZeroShotLoop(WholeSetLoop):
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
        super().__init__(runner, dataloader, evaluator, names=("image",), purpose="zero-shot")
        self.dataset = self.loaders["image"].dataset
        self.templates = tuple(templates or TEMPLATES[self.dataset.name])
        if not all("{}" in template for template in self.templates):
            raise ValueError(f"test_cfg.templates={list(self.templates)}: each needs {{}} where the class goes")
        self.tokenize = TRANSFORMS.build(tokenize)

    def measure(self) -> tuple[list[dict[str, int]], int]:
        model, labels = self.model, []
        classes = self._class_features()
        similarity = embed_share(
            self.loaders["image"],
            "image",
            model,
            lambda batch: image_features(model, batch["images"]) @ classes.T,
            lambda batch: labels.extend(batch["labels"].tolist()),
        )
        predicted = similarity.argmax(1).tolist()
        results = [{"pred_label": guess, "gt_label": label} for guess, label in zip(predicted, labels, strict=True)]
        return results, len(self.dataset)

    def _class_features(self) -> Tensor:
        """Features (classes, D), unit length."""
        model, collate, rows = self.model, PackedCollate(text_limits=text_limits(self.model)), []
        device = model.backbone.cls_token.device
        for name in self.dataset.class_names:
            prompts = [{"key": 0, "sample_id": f"prompt {name!r}", "text": x.format(name)} for x in self.templates]
            batch = collate([self.tokenize(prompt) for prompt in prompts])
            words, positions = batch["words"].to(device), batch["positions"].to(device)
            features = text_features(model, words, positions, batch["word_counts"])
            rows.append(class_features(features))
        return torch.stack(rows)
