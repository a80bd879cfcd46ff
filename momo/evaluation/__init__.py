"""Metrics and evaluations. Importing this package fills `momo.registry.METRICS`."""

from .classification import Classification
from .linear_probe import ProbeResult, linear_probe
from .mean_loss import MeanLoss
from .retrieval import recall_at_k

__all__ = ["Classification", "MeanLoss", "ProbeResult", "linear_probe", "recall_at_k"]
