"""Losses as a validation metric."""

from __future__ import annotations

from collections import defaultdict

from mmengine.evaluator import BaseMetric

from momo.registry import METRICS


@METRICS.register_module()
class MeanLoss(BaseMetric):
    """Mean of each loss over the validation samples.

    A result is a dict of name to (value, number of samples it is the mean of).
    """

    def process(self, data_batch, data_samples: list[dict[str, tuple[float, int]]]) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list[dict[str, tuple[float, int]]]) -> dict[str, float]:
        totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for result in results:
            for name, (value, count) in result.items():
                totals[name][0] += value * count
                totals[name][1] += count
        return {name: total / count for name, (total, count) in totals.items()}
