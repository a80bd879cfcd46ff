"""Metrics of classification."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mmengine.evaluator import BaseMetric
from sklearn import metrics

from momo.registry import METRICS

SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": metrics.accuracy_score,
    "mean_per_class": metrics.balanced_accuracy_score,  # the mean of the classes' recalls
}


@METRICS.register_module()
class Classification(BaseMetric):
    """scikit-learn's metrics of the most likely class.

    A result is a dict with gt_label, and pred_label or pred_score (classes,).

    Args:
        scores: Names in SCORES.
    Raises: ValueError for another name.
    """

    def __init__(self, scores: tuple[str, ...] = ("accuracy",), collect_device: str = "cpu", prefix: str | None = None):
        super().__init__(collect_device, prefix)
        unknown = set(scores) - set(SCORES)
        if unknown:
            raise ValueError(f"scores={sorted(unknown)} are unknown; choose from {sorted(SCORES)}")
        self.scores = tuple(scores)

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            predicted = sample["pred_label"] if "pred_label" in sample else sample["pred_score"].argmax()
            self.results.append((int(predicted), int(sample["gt_label"])))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        predicted, label = np.array(results).T
        return {name: float(SCORES[name](label, predicted)) for name in self.scores}
