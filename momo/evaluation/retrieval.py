"""Image-text retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def recall_at_k(
    queries: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    ks: Sequence[int] = (1, 5, 10),
    block: int = 1024,
) -> dict[int, float]:
    """Fraction of queries with a right answer among the k most similar gallery entries.

    An entry is right if its id equals the query's: captions of one image share an id, and so may equal captions.
    Similarities are taken in blocks of queries, so memory does not grow with their number. Ties count against
    the query.

    Shapes: queries (Q, D), gallery (G, D), comparable by dot product; query_ids (Q,), gallery_ids (G,).
    Args:
        ks: Cut-offs.
        block: Queries at a time.
    Raises: ValueError if a query has no right answer in the gallery, or features are not finite.
    """
    ranks = []
    for features, ids in zip(queries.split(block), query_ids.split(block), strict=True):
        similarity = features @ gallery.T
        if not bool(similarity.isfinite().all()):
            raise ValueError("the features are not finite: the model has diverged")
        right = ids[:, None] == gallery_ids
        if not bool(right.any(1).all()):
            raise ValueError("a query has no right answer in the gallery; check the ids")
        best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        ranks.append(((similarity >= best) & ~right).sum(1))
    rank = torch.cat(ranks)
    return {k: float((rank < k).float().mean()) for k in ks}
