"""The linear probe against scikit-learn, and against labels that it must not see."""

import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from momo.evaluation import linear_probe
from momo.evaluation.linear_probe import STRENGTHS

Split = tuple[np.ndarray, np.ndarray]


def noisy(count: int, noise: float = 1.5, seed: int = 0) -> Split:
    """Five classes in 12 dimensions, of different scales and places; labels are not 0 to 4."""
    rng = np.random.default_rng((seed, count))
    centres = np.random.default_rng(7).normal(size=(5, 12))
    labels = rng.integers(0, 5, count)
    features = centres[labels] + noise * rng.normal(size=(count, 12))
    return (100 + features * np.logspace(-1, 3, 12)).astype(np.float32), labels * 3 + 2


TRAIN, VAL, TEST = noisy(150), noisy(61), noisy(83)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_equals_scikit_learn(strength: float) -> None:
    """On standardised features in float64, fitted to the end."""
    scaler = StandardScaler().fit(TRAIN[0].astype(np.float64))
    train, val, test = (scaler.transform(features.astype(np.float64)) for features, _ in (TRAIN, VAL, TEST))
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10000)
    result = linear_probe(TRAIN, VAL, TEST, [strength])
    assert result.scores == {strength: pytest.approx(reference.fit(train, TRAIN[1]).score(val, VAL[1]))}
    reference.fit(np.concatenate([train, val]), np.concatenate([TRAIN[1], VAL[1]]))
    np.testing.assert_array_equal(result.predicted, reference.predict(test))
    assert result.accuracy == pytest.approx(reference.score(test, TEST[1]))


def test_reading_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = linear_probe(TRAIN, VAL, TEST)
    monkeypatch.setattr(sys.modules[linear_probe.__module__], "CHUNK_VALUES", 12 * 7)  # 7 rows of 150
    parts = linear_probe(TRAIN, VAL, TEST)
    assert parts.chosen_c == whole.chosen_c
    np.testing.assert_array_equal(parts.predicted, whole.predicted)


def test_search_goes_on_around_the_best() -> None:
    """Seven values, then at most two more in each of four rounds: eight a decade around the best, of the ends fewer."""
    result = linear_probe(TRAIN, VAL, TEST)
    tried = np.log10(sorted(result.scores))
    assert set(STRENGTHS) < set(result.scores) and len(tried) <= 7 + 2 * 4
    near = np.abs(tried - np.log10(result.chosen_c))
    assert np.sort(near)[:2] == pytest.approx([0, 1 / 8])
    best = max(result.scores.values())
    assert result.chosen_c == min(strength for strength, score in result.scores.items() if score == best)


def test_labels_of_the_test_split_change_nothing() -> None:
    result, other = linear_probe(TRAIN, VAL, TEST), linear_probe(TRAIN, VAL, (TEST[0], TEST[1][::-1].copy()))
    assert result.scores == other.scores and result.chosen_c == other.chosen_c
    np.testing.assert_array_equal(result.predicted, other.predicted)
    assert other.accuracy == pytest.approx((result.predicted == TEST[1][::-1]).mean())


def test_the_final_fit_learns_from_val_too() -> None:
    """A class that only val has is found, though nothing could be chosen on it."""
    only_val = np.full((30, 12), -5e4, dtype=np.float32), np.full(30, 99)
    val = tuple(np.concatenate(both) for both in zip(VAL, only_val, strict=True))
    result = linear_probe(TRAIN, val, only_val, (0.1, 1.0))
    assert result.accuracy == 1.0 and max(result.scores.values()) <= len(VAL[1]) / len(val[1])


def test_little_data_with_more_features_is_regularised() -> None:
    """Labels that features say nothing of: what fits them best is not what val likes best, and is not chosen."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 40)).astype(np.float32)
    labels = (features[:, 0] + 2 * rng.normal(size=120) > 0).astype(int)
    splits = [(features[i::3], labels[i::3]) for i in range(3)]
    assert linear_probe(*splits).chosen_c < 1.0


def test_constant_features_do_no_harm() -> None:
    def widened(split: Split) -> Split:
        return np.concatenate([split[0], np.full((len(split[0]), 2), 0.1, dtype=np.float32)], 1), split[1]

    plain = linear_probe(TRAIN, VAL, TEST, [0.1])
    wide = linear_probe(widened(TRAIN), widened(VAL), widened(TEST), [0.1])
    np.testing.assert_array_equal(wide.predicted, plain.predicted)


def test_each_step_is_told_and_threads_are_given_back() -> None:
    steps, before = [], torch.get_num_threads()
    linear_probe(TRAIN, VAL, TEST, [1.0], on_step=lambda: steps.append(torch.get_num_threads()))
    assert len(steps) > 5 and set(steps) == {1} and torch.get_num_threads() == before


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="features of val are not finite: the model that made them has diverged"):
        linear_probe(TRAIN, (np.full_like(VAL[0], np.nan), VAL[1]), TEST)
    with pytest.raises(ValueError, match="test has 0 features and 0 labels"):
        linear_probe(TRAIN, VAL, (TEST[0][:0], TEST[1][:0]))
    with pytest.raises(ValueError, match="val has 61 features and 60 labels"):
        linear_probe(TRAIN, (VAL[0], VAL[1][:60]), TEST)
    for strengths in ([], [0.0, 1.0]):
        with pytest.raises(ValueError, match="there must be some, all above 0"):
            linear_probe(TRAIN, VAL, TEST, strengths)
