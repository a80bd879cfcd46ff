"""Ranks against brute force, on random and awkward similarities."""

import numpy as np
import pytest
import torch

from momo.evaluation import rank_queries, recall_at_k, rerank_candidates

RNG = np.random.default_rng(0)


def brute_force(similarity: np.ndarray, query_ids, gallery_ids) -> list[int]:
    """Wrong entries at least as similar as the best right one."""
    ranks = []
    for row, own in zip(similarity, query_ids, strict=True):
        right = np.array([each == own for each in gallery_ids])
        ranks.append(sum(1 for value, good in zip(row, right, strict=True) if not good and value >= row[right].max()))
    return ranks


@pytest.mark.parametrize("case", ["random", "ties", "all equal"])
@pytest.mark.parametrize("block", [1, 3, 100])
def test_ranks(case: str, block: int) -> None:
    queries, gallery = RNG.normal(size=(11, 4)), RNG.normal(size=(17, 4))
    if case == "ties":
        queries, gallery = queries.round(), gallery.round()
    if case == "all equal":
        queries, gallery = np.ones_like(queries), np.ones_like(gallery)
    query_ids, gallery_ids = RNG.integers(0, 5, 11), np.concatenate([np.arange(5), RNG.integers(0, 5, 12)])
    ranking = rank_queries(*map(torch.from_numpy, (queries, gallery, query_ids, gallery_ids)), top=6, block=block)
    similarity = queries @ gallery.T
    assert ranking.ranks.tolist() == brute_force(similarity, query_ids, gallery_ids)
    if case == "random":
        np.testing.assert_array_equal(ranking.top, np.argsort(-similarity, axis=1)[:, :6])
    recall = recall_at_k(*map(torch.from_numpy, (queries, gallery, query_ids, gallery_ids)), ks=(1, 3), block=block)
    ranks = np.array(brute_force(similarity, query_ids, gallery_ids))
    assert recall == pytest.approx({1: (ranks < 1).mean(), 3: (ranks < 3).mean()})


def test_reranking_by_hand() -> None:
    """Two queries, candidates 2 and 0 of the first, 1 and 2 of the second; entry 0 is right for both."""
    gallery = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    ids = torch.tensor([7, 7]), torch.tensor([7, 8, 9])
    ranking = rank_queries(queries, gallery, *ids, top=2)
    assert ranking.top.tolist() == [[2, 0], [1, 2]] and ranking.ranks.tolist() == [1, 2]
    # The first query's right answer comes first now; the second's was no candidate and stays behind.
    assert rerank_candidates(ranking, torch.tensor([[0.1, 0.9], [0.2, 0.3]]), *ids).tolist() == [0, 2]
    assert rerank_candidates(ranking, torch.tensor([[0.5, 0.5], [0.2, 0.3]]), *ids).tolist() == [1, 2]
    with pytest.raises(ValueError, match="scores of the candidates are not finite"):
        rerank_candidates(ranking, torch.tensor([[torch.nan, 0.5], [0.2, 0.3]]), *ids)


def test_what_cannot_be_ranked_is_refused() -> None:
    one, ids = torch.ones(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="1 queries have no right answer in the gallery, the first of them id 5"):
        rank_queries(one, one, torch.tensor([0, 5]), ids)
    with pytest.raises(ValueError, match="the gallery features are not finite"):
        rank_queries(one, one * torch.inf, ids, ids)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_recall_is_that_of_mmpretrain() -> None:
    """Without ties; mmpretrain gives percent, and takes the whole table of similarities."""
    from mmpretrain.evaluation import RetrievalRecall

    queries, gallery = torch.randn(30, 5), torch.randn(40, 5)
    query_ids, gallery_ids = torch.arange(30) % 8, torch.arange(40) % 8
    target = (query_ids[:, None] == gallery_ids).float()
    theirs = RetrievalRecall.calculate(queries @ gallery.T, target, topk=(1, 5, 10))
    ours = recall_at_k(queries, gallery, query_ids, gallery_ids)
    assert list(ours.values()) == pytest.approx([float(each) / 100 for each in theirs])
