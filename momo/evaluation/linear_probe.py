"""Linear evaluation of frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class ProbeResult(NamedTuple):
    """Test accuracy, and the inverse regularisation strength that was best on the validation split."""

    accuracy: float
    chosen_c: float


def linear_probe(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0),
) -> ProbeResult:
    """L-BFGS logistic regression on standardised features; its regularisation is chosen on val, never on test.

    Shapes: each split is (features (N, C), labels (N,)).
    Source: Radford et al. 2021, arXiv:2103.00020, appendix A.3 (MoMo 4.1 follows FLAVA, which follows it).
    """

    def fit(strength: float):
        return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(*train)

    probes = [fit(strength) for strength in strengths]
    best = max(range(len(probes)), key=lambda index: probes[index].score(*val))
    return ProbeResult(float(probes[best].score(*test)), float(strengths[best]))
