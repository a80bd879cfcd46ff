"""Metrics and evaluations. Importing this package fills `momo.registry.METRICS`."""

from .classification import Classification
from .glue import GLUEMetric, GLUESubmission
from .linear_probe import ProbeResult, linear_probe
from .mean_loss import MeanLoss
from .prompts import TEMPLATES
from .retrieval import Ranking, RankRecall, rank_queries, recall_at_k, rerank_candidates
from .vqa import VQAAccuracy, VQASubmission, vqa_accuracy

__all__ = [
    "Classification",
    "GLUEMetric",
    "GLUESubmission",
    "MeanLoss",
    "ProbeResult",
    "RankRecall",
    "Ranking",
    "TEMPLATES",
    "VQAAccuracy",
    "VQASubmission",
    "linear_probe",
    "rank_queries",
    "recall_at_k",
    "rerank_candidates",
    "vqa_accuracy",
]
