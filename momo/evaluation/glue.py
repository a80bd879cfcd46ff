"""GLUE's metrics, and the files that its test server takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from scipy import stats
from sklearn import metrics

from momo.registry import METRICS

Score = Callable[[np.ndarray, np.ndarray], float]  # of labels and predictions, (N,) each


def _correlation(measure: Callable) -> Score:
    """A correlation that is 0 where it is undefined: among equal predictions, or equal labels."""

    def score(label: np.ndarray, predicted: np.ndarray) -> float:
        if len(set(label.tolist())) < 2 or len(set(predicted.tolist())) < 2:
            return 0.0
        return float(measure(label, predicted).statistic)

    return score


def _f1(label: np.ndarray, predicted: np.ndarray) -> float:
    """Of class 1; 0 if it is neither there nor predicted."""
    return float(metrics.f1_score(label, predicted, zero_division=0))


SCORES: dict[str, Score] = {
    "accuracy": lambda label, predicted: float(metrics.accuracy_score(label, predicted)),
    "f1": _f1,
    "matthews": lambda label, predicted: float(metrics.matthews_corrcoef(label, predicted)),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}
# Wang et al. 2019, arXiv:1804.07461, table 1; every other task is measured by accuracy.
SCORES_OF_TASK = {
    "cola": ("matthews",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
}
SUBMISSIONS = {
    "cola": "CoLA",
    "mnli": "MNLI",
    "mrpc": "MRPC",
    "qnli": "QNLI",
    "qqp": "QQP",
    "rte": "RTE",
    "sst2": "SST-2",
    "stsb": "STS-B",
    "wnli": "WNLI",
}


def _predicted(sample: dict) -> float:
    """The likeliest class, or the score of a regression."""
    scores = sample["pred_score"]
    return int(scores.argmax()) if len(scores) > 1 else float(scores[0])


@METRICS.register_module()
class GLUEMetric(BaseMetric):
    """The metrics of a task, which it reads from the dataset: accuracy, F1, Matthews, Pearson or Spearman correlation.

    MNLI's mismatched half is named accuracy_mismatched. A result is a dict with sample_id, pred_score and gt_label.
    """

    def process(self, data_batch, data_samples: list[dict]) -> None:
        for sample in data_samples:
            self.results.append(("_mismatched:" in sample["sample_id"], sample["gt_label"], _predicted(sample)))

    def compute_metrics(self, results: list[tuple[bool, float, float]]) -> dict[str, float]:
        scores = {}
        for mismatched in sorted({result[0] for result in results}):
            label, predicted = np.array([result[1:] for result in results if result[0] is mismatched]).T
            for name in SCORES_OF_TASK.get(self.dataset_meta["task"], ("accuracy",)):
                scores[f"{name}_mismatched" if mismatched else name] = SCORES[name](label, predicted)
        return scores


@METRICS.register_module()
class GLUESubmission(BaseMetric):
    """Write the predictions of a test split as the benchmark's server takes them: index and label, tab-separated.

    Args:
        folder: Where the files go, such as MRPC.tsv, or MNLI-m.tsv and MNLI-mm.tsv.
    """

    def __init__(self, folder: str, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.folder = Path(folder)

    def process(self, data_batch, data_samples: list[dict]) -> None:
        self.results += [(sample["sample_id"], _predicted(sample)) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[str, float]]) -> dict[str, float]:
        """Called on one process, with all results."""
        classes, name = self.dataset_meta["classes"], SUBMISSIONS[self.dataset_meta["task"]]
        self.folder.mkdir(parents=True, exist_ok=True)
        ends = {"test_matched": "-m", "test_mismatched": "-mm"}
        tables: dict[str, list[str]] = {}
        for sample_id, value in results:
            part, _, index = sample_id.partition(":")
            label = classes[int(value)] if classes else f"{min(max(value, 0.0), 5.0):.3f}"
            tables.setdefault(f"{name}{ends.get(part, '')}.tsv", ["index\tprediction"]).append(f"{index}\t{label}")
        for file, lines in tables.items():
            (self.folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {"predictions": float(len(results))}
