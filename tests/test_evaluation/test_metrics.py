"""Metrics against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from momo.evaluation import Classification, MeanLoss, linear_probe, recall_at_k


def test_mean_loss_weighs_batches_by_their_samples() -> None:
    metric = MeanLoss()
    metric.process(None, [{"image/mim": (1.0, 3), "text/mlm": (5.0, 1)}])
    metric.process(None, [{"image/mim": (2.0, 1)}])
    assert metric.evaluate(2) == {"image/mim": 1.25, "text/mlm": 5.0}


def test_classification_scores() -> None:
    """Three of four right; of the classes, 2 of 3 and 1 of 1."""
    metric = Classification(scores=("accuracy", "mean_per_class"))
    for score, label in (([0.9, 0.1], 0), ([0.6, 0.4], 0), ([0.3, 0.7], 0), ([0.2, 0.8], 1)):
        metric.process(None, [{"pred_score": torch.tensor(score), "gt_label": label}])
    assert metric.evaluate(4) == {"accuracy": 0.75, "mean_per_class": pytest.approx((2 / 3 + 1) / 2)}
    with pytest.raises(ValueError, match=r"scores=\['speed'\] are unknown; choose from \['accuracy'"):
        Classification(scores=("speed",))


def test_recall_by_hand() -> None:
    """The right answers stand first, third and second."""
    gallery = torch.eye(3)
    queries = torch.tensor([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    recall = recall_at_k(queries, gallery, torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]), ks=(1, 2, 3))
    assert recall == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3), 3: 1.0}


def test_recall_takes_any_right_answer_and_counts_ties_as_misses() -> None:
    gallery, ids = torch.tensor([[1.0], [2.0], [2.0], [3.0]]), torch.tensor([7, 7, 8, 9])
    queries = torch.tensor([[1.0], [-1.0]])
    recall = recall_at_k(queries, gallery, torch.tensor([7, 7]), ids, ks=(1, 2, 3))
    assert recall == {1: 0.5, 2: 0.5, 3: 1.0}  # behind 3 and the tie at 2; and first, from the other end


def test_recall_does_not_depend_on_blocks() -> None:
    queries, gallery = torch.randn(17, 4), torch.randn(9, 4)
    ids = (torch.arange(17) % 5, torch.arange(9) % 5)
    assert recall_at_k(queries, gallery, *ids, block=4) == recall_at_k(queries, gallery, *ids)


def test_recall_needs_an_answer() -> None:
    with pytest.raises(ValueError, match="no right answer in the gallery"):
        recall_at_k(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([1]), torch.tensor([2]))


def test_linear_probe_chooses_on_val_and_reports_on_test() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    split = lambda noise: (np.eye(3)[labels] + noise * rng.normal(size=(60, 3)), labels)  # noqa: E731
    result = linear_probe(split(0.05), split(0.05), split(0.05))
    assert result.accuracy == 1.0
    wrong = (split(0.05)[0], (labels + 1) % 3)
    assert linear_probe(split(0.05), split(0.05), wrong).accuracy == 0.0
    assert linear_probe(split(0.5), split(0.5), split(0.5), strengths=(0.01,)).chosen_c == 0.01


def test_features_of_a_diverged_model_are_refused() -> None:
    ids = torch.arange(2)
    with pytest.raises(ValueError, match="not finite"):
        recall_at_k(torch.full((2, 3), torch.nan), torch.ones(2, 3), ids, ids)
