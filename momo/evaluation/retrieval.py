"""Image-text retrieval.

Legend: Q queries, G gallery entries, D channels, K candidates of a query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from momo.registry import METRICS


class Ranking(NamedTuple):
    """ranks (Q,): wrong entries at or above each query's best right one, 0 if that is first. top (Q, K): the most
    similar entries, best first.
    """

    ranks: Tensor
    top: Tensor


class RightAnswers:
    """Which gallery entries are right for a query, without a Q x G table.

    The gallery's places are kept sorted by id, so that the right answers of a query are one run of them.

    Shapes: gallery_ids (G,) int64.
    """

    def __init__(self, gallery_ids: Tensor) -> None:
        self.ids, self.places = torch.sort(gallery_ids, stable=True)

    def find(self, query_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the right answers (Q, most), and which of them are (a query with fewer is filled up).

        Raises: ValueError if a query has none.
        """
        first, last = torch.searchsorted(self.ids, query_ids), torch.searchsorted(self.ids, query_ids, right=True)
        counts = last - first
        if not bool((counts > 0).all()):
            lost = query_ids[counts == 0]
            raise ValueError(
                f"{len(lost)} queries have no right answer in the gallery, the first of them id {int(lost[0])}; "
                "check the ids"
            )
        steps = torch.arange(int(counts.max()), device=query_ids.device)
        return self.places[(first[:, None] + steps).clamp(max=len(self.ids) - 1)], steps < counts[:, None]


def rank_queries(
    queries: Tensor, gallery: Tensor, query_ids: Tensor, gallery_ids: Tensor, top: int = 0, block: int = 1024
) -> Ranking:
    """Place of each query's best right answer, and the `top` entries that are most similar to it.

    An entry is right if its id equals the query's. Ties count against the query. Similarities are taken in blocks of
    queries and thrown away, so memory grows with block x G and not with Q x G: a float and a byte a pair of the block.

    Shapes: queries (Q, D), gallery (G, D), comparable by dot product; query_ids (Q,), gallery_ids (G,) int64.
    Args:
        top: Entries to name for each query; at most G are there.
        block: Queries at a time.
    Raises: ValueError if a query has no right answer in the gallery, or features are not finite.
    """
    for name, features in (("query", queries), ("gallery", gallery)):
        if not bool(features.isfinite().all()):
            raise ValueError(f"the {name} features are not finite: the model has diverged")
    answers, ranks, best_entries = RightAnswers(gallery_ids), [], []
    for features, ids in zip(queries.split(block), query_ids.split(block), strict=True):
        similarity = features @ gallery.T
        places, valid = answers.find(ids)
        right = similarity.gather(1, places).masked_fill_(~valid, -torch.inf)
        best = right.amax(1, keepdim=True)
        ranks.append((similarity >= best).sum(1) - (right >= best).sum(1))
        best_entries.append(similarity.topk(min(top, len(gallery)), dim=1).indices)
    return Ranking(torch.cat(ranks), torch.cat(best_entries))


def rerank_candidates(ranking: Ranking, scores: Tensor, query_ids: Tensor, gallery_ids: Tensor) -> Tensor:
    """Ranks (Q,) after the candidates of each query were put in the order of other scores.

    What was no candidate stays behind those that were, so a query whose right answers were not among them keeps its
    rank. Ties count against the query.

    Shapes: scores (Q, K), of ranking.top; query_ids (Q,), gallery_ids (G,).
    Raises: ValueError if a score is not finite.
    """
    if not bool(scores.isfinite().all()):
        raise ValueError("the scores of the candidates are not finite: the model has diverged")
    right = gallery_ids[ranking.top] == query_ids[:, None]
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return torch.where(right.any(1), ((scores >= best) & ~right).sum(1), ranking.ranks)


def recall(ranks: Tensor, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Fraction of queries whose rank (counted from 0) is below each k.

    Shapes: ranks (Q,).
    """
    return {k: int((ranks < k).sum()) / len(ranks) for k in ks}


def recall_at_k(
    queries: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    block: int = 1024,
) -> dict[int, float]:
    """Fraction of queries with a right answer among the k most similar gallery entries; see `rank_queries`.

    Args:
        ks: Cut-offs.
    """
    return recall(rank_queries(queries, gallery, query_ids, gallery_ids, block=block).ranks, ks)


@METRICS.register_module()
class RankRecall(BaseMetric):
    """Recall from the ranks that RetrievalLoop finds: '<direction>@<k>', a fraction.

    A result is (direction, rank), the rank counted from 0.

    Args:
        ks: Cut-offs, at least 1.
    Raises: ValueError for a cut-off below 1.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10), collect_device: str = "cpu", prefix: str | None = None):
        super().__init__(collect_device, prefix)
        if not ks or min(ks) < 1:
            raise ValueError(f"ks={list(ks)}: a recall needs cut-offs of at least 1")
        self.ks = tuple(ks)

    def process(self, data_batch: Any, data_samples: Sequence[tuple[str, int]]) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list[tuple[str, int]]) -> dict[str, float]:
        ranks: dict[str, list[int]] = defaultdict(list)
        for direction, rank in results:
            ranks[direction].append(rank)
        values = {direction: recall(torch.tensor(own), self.ks) for direction, own in ranks.items()}
        return {f"{direction}@{k}": value for direction, own in values.items() for k, value in own.items()}
