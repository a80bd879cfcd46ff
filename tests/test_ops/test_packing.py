"""Layouts and packed tensors against plain lists."""

import pickle

import pytest
import torch

from momo.ops import PackedTokens, Run, SequenceLayout
from momo.ops.packing import cu_seqlens


def test_derived_tables_by_hand() -> None:
    layout = SequenceLayout.ragged([2, 2, 5, 1])
    assert layout.groups == ((Run(2, 2), Run(1, 5), Run(1, 1)),)
    assert layout.lengths == (2, 2, 5, 1)
    assert layout.starts == (0, 2, 4, 9)
    assert (layout.num_tokens, layout.num_sequences) == (10, 4)
    device = torch.device("cpu")
    assert layout.start_index(device).tolist() == [0, 2, 4, 9]
    assert layout.length_index(device).tolist() == [2, 2, 5, 1]
    bounds = cu_seqlens(layout.groups[0], device)
    assert bounds.tolist() == [0, 2, 4, 9, 10]
    assert bounds.dtype == torch.int32


def test_equal_is_ragged_with_equal_lengths() -> None:
    assert SequenceLayout.equal(3, 4) == SequenceLayout.ragged([4, 4, 4])
    assert SequenceLayout.equal(3, 4).groups == ((Run(3, 4),),)
    assert SequenceLayout.ragged([]).num_tokens == 0


def test_index_tables_are_made_once() -> None:
    layout = SequenceLayout.ragged([1, 2])
    assert layout.start_index(torch.device("cpu")) is layout.start_index(torch.device("cpu"))


def test_cat_keeps_groups_apart_even_where_lengths_meet() -> None:
    layout = SequenceLayout.cat([SequenceLayout.equal(2, 3), SequenceLayout.equal(1, 3)])
    assert layout.groups == ((Run(2, 3),), (Run(1, 3),))
    assert layout.lengths == (3, 3, 3)
    assert layout.starts == (0, 3, 6)


def test_pickle_carries_the_groups_alone() -> None:
    layout = SequenceLayout.ragged([2, 3])
    size = len(pickle.dumps(layout))
    assert layout.num_tokens == 5 and layout.start_index(torch.device("cpu")).tolist() == [0, 2]
    assert len(pickle.dumps(layout)) == size
    copy = pickle.loads(pickle.dumps(layout))
    assert copy == layout
    assert copy.start_index(torch.device("cpu")).tolist() == [0, 2]


def test_split_undoes_cat_and_gives_views() -> None:
    parts = [
        PackedTokens(torch.arange(12.0).view(4, 3), SequenceLayout.ragged([1, 3])),
        PackedTokens(torch.arange(100.0, 106.0).view(2, 3), SequenceLayout.equal(2, 1)),
    ]
    joined = PackedTokens.cat(parts)
    back = joined.split([part.layout for part in parts])
    for part, again in zip(parts, back, strict=True):
        assert torch.equal(part.x, again.x)
        assert part.layout == again.layout
        assert again.x.untyped_storage().data_ptr() == joined.x.untyped_storage().data_ptr()
    assert PackedTokens.cat(parts[:1]) is parts[0]


@pytest.mark.parametrize("lengths", [[3, 3], [2, 1, 4], [4, 1, 1]])
def test_first_and_mean_against_lists(lengths: list[int]) -> None:
    x = torch.arange(2.0 * sum(lengths)).view(-1, 2) ** 2
    tokens = PackedTokens(x, SequenceLayout.ragged(lengths))
    sequences = x.split(lengths)
    assert torch.equal(tokens.first(), torch.stack([sequence[0] for sequence in sequences]))
    means = [(sequence[1:] if len(sequence) > 1 else sequence).mean(0) for sequence in sequences]
    assert torch.equal(tokens.mean(), torch.stack(means))


def test_firsts_are_one_token_a_sequence() -> None:
    assert SequenceLayout.ragged([3, 1, 4]).firsts == SequenceLayout.equal(3, 1)


def test_chunks_are_whole_sequences_of_one_group_within_the_limit() -> None:
    layout = SequenceLayout.cat([SequenceLayout.ragged([3, 3, 3, 2]), SequenceLayout.ragged([9, 1, 5])])
    assert [chunk.lengths for chunk in layout.chunks(6)] == [(3, 3), (3, 2), (9,), (1, 5)]
    assert [chunk.lengths for chunk in layout.chunks(1)] == [(3,), (3,), (3,), (2,), (9,), (1,), (5,)]
    assert [chunk.lengths for chunk in layout.chunks(100)] == [(3, 3, 3, 2), (9, 1, 5)]
    assert SequenceLayout.ragged([]).chunks(4) == []


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"at least one token, got lengths \[2, 0\]"):
        SequenceLayout.ragged([2, 0])
    with pytest.raises(ValueError, match=r"shape \(4, 2\) does not hold 3 tokens"):
        PackedTokens(torch.zeros(4, 2), SequenceLayout.ragged([3]))
    with pytest.raises(ValueError, match=r"shape \(3,\) does not hold 3 tokens"):
        PackedTokens(torch.zeros(3), SequenceLayout.ragged([3]))
