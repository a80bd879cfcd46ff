"""Linear evaluation of frozen features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

Labelled = tuple[np.ndarray, np.ndarray]  # features (N, C), labels (N,)
STRENGTHS = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)
HALVINGS = 4  # of the distance between STRENGTHS: at last there are eight values a decade around the best
MAX_ITERATIONS = 1000
CHUNK_VALUES = 2**25  # logits that are in memory at a time
FEW_PRODUCTS = 1e9  # samples x features x classes up to which one thread is faster than several


class ProbeResult(NamedTuple):
    """predicted (N,): labels of the test samples. accuracy: the share that is right. chosen_c: the inverse
    regularisation strength that was best on the validation split. scores: accuracy on it, by strength.
    """

    predicted: np.ndarray
    accuracy: float
    chosen_c: float
    scores: dict[float, float]


def linear_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    strengths: Sequence[float] = STRENGTHS,
    device: torch.device | str = "cpu",
    on_step: Callable[[], None] = lambda: None,
) -> ProbeResult:
    """L-BFGS logistic regression on standardised features.

    Its regularisation is chosen on val, never on test; the final classifier is then fitted on train and val. Values
    around the best of `strengths` are tried too: four times, the middles between the best and its neighbours.

    Shapes: each split is (features (N, C), labels (N,)). They are read in chunks, as float32, without a copy of all.
    Args:
        strengths: Values to try of C, the inverse of the regularisation; the penalty is |W|^2 / 2C beside the sum of
            the samples' losses, and none on the bias.
        device: Where to compute; a GPU is worth it from some ten thousand samples on.
        on_step: Is called after each step of L-BFGS.
    Raises: ValueError for features that are not finite, a split without samples, or no strengths.
    Source: Radford et al. 2021, arXiv:2103.00020, appendix A.3 (MoMo 4.1 follows FLAVA, which follows it): the values,
        their search and the 1,000 steps. Theirs are fitted by scikit-learn and not standardised.
    """
    if not len(strengths) or min(strengths) <= 0:
        raise ValueError(f"strengths={list(strengths)}: there must be some, all above 0")
    for name, (features, labels) in (("train", train), ("val", val), ("test", test)):
        if not 0 < len(features) == len(labels):
            raise ValueError(f"{name} has {len(features)} features and {len(labels)} labels")
        if not np.isfinite(features).all():
            raise ValueError(f"features of {name} are not finite: the model that made them has diverged")
    classes = np.unique(np.concatenate([train[1], val[1]]))
    with _threads_for(train[0].size * len(classes)):
        return _probe(train, val, test, classes, strengths, torch.device(device), on_step)


def _probe(train, val, test, classes, strengths, device, on_step) -> ProbeResult:
    parts = [_Part(features, np.searchsorted(classes, labels), device) for features, labels in (train, val)]
    scaling = _scaling(parts[0])  # one for all fits
    shape = (len(classes), train[0].shape[1] + 1)
    fitted: dict[float, np.ndarray] = {}
    scores: dict[float, float] = {}

    def try_out(strength: float) -> None:
        # A fit starts from the nearest one: much sooner done than from nothing.
        near = min(fitted, key=lambda other: abs(np.log(other / strength)), default=None)
        start = np.zeros(shape) if near is None else fitted[near]
        fitted[strength] = _fit(parts[:1], scaling, strength, start, on_step)
        guess = _predict(parts[1], scaling, fitted[strength])
        scores[strength] = float((guess == parts[1].labels).double().mean())

    for strength in sorted(strengths):
        try_out(float(strength))
    for _ in range(HALVINGS):
        for strength in _around(_best(scores), sorted(scores)):
            try_out(strength)
    chosen = _best(scores)
    weights = _fit(parts, scaling, chosen, fitted[chosen], on_step)
    guess = _predict(_Part(test[0], np.zeros(len(test[1]), dtype=np.int64), device), scaling, weights)
    predicted = classes[guess.cpu().numpy()]
    return ProbeResult(predicted, float((predicted == test[1]).mean()), chosen, scores)


def _best(scores: dict[float, float]) -> float:
    """Of equally good values the one that regularises most."""
    return min(scores, key=lambda strength: (-scores[strength], strength))


def _around(value: float, values: list[float]) -> list[float]:
    """The middles, on a logarithmic scale, between a value and its neighbours in a sorted list."""
    place = values.index(value)
    neighbours = values[max(place - 1, 0) : place] + values[place + 1 : place + 2]
    return [float(np.sqrt(value * other)) for other in neighbours]


class _Part:
    """Features and labels of a split on a device, read in chunks."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, device: torch.device) -> None:
        self.features = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).to(device)
        self.labels = torch.from_numpy(labels).to(device)

    def chunks(self, classes: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = max(CHUNK_VALUES // max(classes, self.features.shape[1]), 1)
        yield from zip(self.features.split(rows), self.labels.split(rows), strict=True)


def _scaling(part: _Part) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation of the features, each (C,); a constant feature is not scaled."""
    count = len(part.labels)
    mean = sum(x.sum(0, dtype=torch.float64) for x, _ in part.chunks(1)) / count
    variance = sum((x - mean).square().sum(0) for x, _ in part.chunks(1)) / count
    scale = torch.where(variance > 1e-12 * mean.square(), variance.rsqrt(), 1.0)
    return mean.float(), scale.float()


def _logits(x: Tensor, scaling: tuple[Tensor, Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised features (B, C) and logits (B, classes) by weights (classes, C + 1), the last column the bias."""
    x = (x - scaling[0]) * scaling[1]
    return x, torch.addmm(weights[:, -1], x, weights[:, :-1].T)


def _fit(parts: list[_Part], scaling, strength: float, start: np.ndarray, on_step: Callable[[], None]) -> np.ndarray:
    """Weights (classes, C + 1) that minimise the mean loss and the penalty, from `start`."""
    count = sum(len(part.labels) for part in parts)
    device = parts[0].features.device
    # scikit-learn stops at 1e-4; with a thousand classes, a gradient is hardly larger to begin with.
    enough = min(1e-4, 1e-3 / len(start))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(flat).view(start.shape).to(device)
        loss, gradient = weights.new_zeros(()), torch.zeros_like(weights)
        for x, labels in (chunk for part in parts for chunk in part.chunks(len(start))):
            x, logits = _logits(x, scaling, weights.float())
            log_probability = F.log_softmax(logits, 1)
            loss -= log_probability.gather(1, labels[:, None]).sum(dtype=torch.float64)
            error = log_probability.exp_()
            error[torch.arange(len(labels), device=device), labels] -= 1
            gradient[:, :-1] += error.T @ x
            gradient[:, -1] += error.sum(0)
        decayed = weights[:, :-1]
        gradient[:, :-1] += decayed / strength
        total = (loss + decayed.square().sum() / (2 * strength)) / count
        return total.item(), (gradient / count).flatten().cpu().numpy()

    found = minimize(
        objective,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda _: on_step(),
        options=dict(maxiter=MAX_ITERATIONS, maxfun=10 * MAX_ITERATIONS, gtol=enough, ftol=1e-14, maxls=50),
    )
    return found.x.reshape(start.shape)


def _predict(part: _Part, scaling, weights: np.ndarray) -> Tensor:
    """Numbers (N,) of the most likely classes."""
    weights = torch.from_numpy(weights).to(part.features)
    return torch.cat([_logits(x, scaling, weights)[1].argmax(1) for x, _ in part.chunks(len(weights))])


@contextmanager
def _threads_for(products: int) -> Iterator[None]:
    """On small data threads wait for each other: one can be 30 times faster on 1,600 features of 128."""
    if products > FEW_PRODUCTS:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)
