"""Say which of some classes an image shows, without training for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from momo.models.downstream import class_features
from momo.models.pretrainers import find_objective

from .embed import FeatureInferencer, embed_texts
from .inputs import ImageSource, as_texts


class Label(NamedTuple):
    """A class or an answer, and its probability."""

    name: str
    probability: float


def best_labels(names: Sequence[str], probabilities: Tensor, k: int | None = None) -> list[list[Label]]:
    """The k likeliest names of each row, None for all, best first.

    Shapes: probabilities (B, names).
    """
    values, places = probabilities.sort(dim=1, descending=True, stable=True)
    return [
        [Label(names[place], value) for place, value in zip(*row, strict=True)]
        for row in zip(places[:, :k].tolist(), values[:, :k].tolist(), strict=True)
    ]


class ZeroShotInferencer(FeatureInferencer):
    """Images to probabilities of classes that are given by name. See Inferencer."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._class_features = lru_cache(maxsize=4)(self._embed_classes)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        classes: Sequence[str],
        templates: Sequence[str] = ("{}",),
        batch_size: int = 64,
    ) -> list[list[Label]]:
        """All classes for each image, likeliest first.

        Args:
            classes: At least one name, such as 'cat'.
            templates: Sentences with {} for the name, whose features are averaged, see `momo.evaluation.TEMPLATES`.
        Raises: ValueError for no class, a template without {}, or an image that cannot be read.
        """
        classes, templates = as_texts(classes, "classes"), as_texts(templates, "templates")
        if not all("{}" in template for template in templates):
            raise ValueError(f"templates={templates}: each needs {{}} where the class goes")
        similarity = self.images(images, batch_size) @ self._class_features(tuple(classes), tuple(templates)).T
        scale = find_objective(self.model, *self.needs).objective.contrastive.logit_scale.detach().exp().cpu()
        return best_labels(classes, (scale * similarity).softmax(1))

    def _embed_classes(self, classes: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
        prompts = [template.replace("{}", name) for name in classes for template in templates]
        features = embed_texts(self.model, prompts, self.tokenizer)
        return class_features(features.unflatten(0, (len(classes), len(templates))))
