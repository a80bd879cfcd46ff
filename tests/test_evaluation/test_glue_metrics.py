"""GLUE's metrics against their definitions, on random and awkward predictions."""

import math

import numpy as np
import pytest
import torch

from momo.evaluation import GLUEMetric
from momo.evaluation.glue import SCORES

RNG = np.random.default_rng(0)
CASES = {
    "random": (RNG.integers(0, 2, 50), RNG.integers(0, 2, 50)),
    "right": (np.array([0, 1, 1]), np.array([0, 1, 1])),
    "wrong": (np.array([0, 1, 1]), np.array([1, 0, 0])),
    "always 0": (np.array([0, 1, 1]), np.zeros(3, int)),
    "always 1": (np.array([0, 1, 1]), np.ones(3, int)),
    "one class": (np.zeros(4, int), np.zeros(4, int)),
}


def f1(label, predicted) -> float:
    right = sum(1 for y, p in zip(label, predicted, strict=True) if y == p == 1)
    return 2 * right / (sum(label) + sum(predicted)) if sum(label) + sum(predicted) else 0.0


def matthews(label, predicted) -> float:
    table = np.zeros((2, 2))
    for y, p in zip(label, predicted, strict=True):
        table[y, p] += 1
    norm = math.sqrt(np.prod([*table.sum(0), *table.sum(1)]))
    return (table[0, 0] * table[1, 1] - table[0, 1] * table[1, 0]) / norm if norm else 0.0


def pearson(x, y) -> float:
    x, y = np.asarray(x, float) - np.mean(x), np.asarray(y, float) - np.mean(y)
    norm = math.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / norm) if norm else 0.0


def ranks(values) -> list[float]:
    """Average ranks: ties share theirs."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


@pytest.mark.parametrize("case", CASES)
def test_classification(case: str) -> None:
    label, predicted = CASES[case]
    assert SCORES["accuracy"](label, predicted) == pytest.approx(np.mean(label == predicted))
    assert SCORES["f1"](label, predicted) == pytest.approx(f1(label, predicted))
    assert SCORES["matthews"](label, predicted) == pytest.approx(matthews(label, predicted))


@pytest.mark.parametrize("ties", [False, True])
def test_correlation(ties: bool) -> None:
    label, predicted = RNG.normal(size=30), RNG.normal(size=30)
    if ties:
        label, predicted = label.round(), predicted.round()
    assert SCORES["pearson"](label, predicted) == pytest.approx(pearson(label, predicted))
    assert SCORES["spearman"](label, predicted) == pytest.approx(pearson(ranks(label), ranks(predicted)))


def test_a_correlation_with_a_constant_is_nought() -> None:
    for name in ("pearson", "spearman"):
        assert SCORES[name](np.array([1.0, 2.0]), np.array([3.0, 3.0])) == 0.0
        assert SCORES[name](np.array([2.0, 2.0]), np.array([3.0, 1.0])) == 0.0


def metric(task: str, *samples: tuple[str, float, list[float]]) -> dict[str, float]:
    measure = GLUEMetric()
    measure.dataset_meta = {"task": task}
    measure.process(None, [dict(sample_id=i, gt_label=y, pred_score=torch.tensor(s)) for i, y, s in samples])
    return measure.evaluate(len(samples))


def test_mismatched_is_apart() -> None:
    samples = [("dev_matched:0", 2, [0.1, 0.2, 0.7]), ("dev_matched:1", 0, [0.1, 0.2, 0.7])]
    scores = metric("mnli", *samples, ("dev_mismatched:0", 1, [0.1, 0.8, 0.1]))
    assert scores == {"accuracy": 0.5, "accuracy_mismatched": 1.0}


def test_tasks_have_their_metrics() -> None:
    two = [("dev:0", 1, [0.2, 0.8]), ("dev:1", 0, [0.4, 0.6])]
    assert metric("qqp", *two) == {"accuracy": 0.5, "f1": pytest.approx(2 / 3)}
    assert metric("cola", *two) == {"matthews": 0.0}
    assert metric("rte", *two) == {"accuracy": 0.5}
    assert set(metric("stsb", ("dev:0", 1.5, [2.0]), ("dev:1", 3.0, [2.5]))) == {"pearson", "spearman"}
