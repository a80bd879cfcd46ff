"""Packed attention against softmax(q k^T / sqrt(D)) v, written out sequence by sequence."""

import math

import pytest
import torch
from torch import Tensor

from momo.ops import SequenceLayout, packed_attention

HEADS, WIDTH = 2, 8
LENGTHS = {
    "one": [5],
    "equal": [4, 4, 4],
    "sorted": [1, 1, 3, 3, 7],
    "unsorted": [3, 1, 7, 1, 3, 2],
}


def one_sequence(qkv: Tensor) -> Tensor:
    """(L, 3C) to (L, C), a head and a query at a time."""
    out = qkv.new_empty(len(qkv), WIDTH)
    dim = WIDTH // HEADS
    for head in range(HEADS):
        q, k, v = (qkv[:, part * WIDTH + head * dim : part * WIDTH + (head + 1) * dim] for part in range(3))
        for row in range(len(qkv)):
            weights = torch.exp(k @ q[row] / math.sqrt(dim))
            out[row, head * dim : (head + 1) * dim] = (weights / weights.sum()) @ v
    return out


def random_qkv(tokens: int) -> Tensor:
    return torch.randn(tokens, 3 * WIDTH, dtype=torch.float64)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_equals_the_formula(lengths: list[int]) -> None:
    qkv = random_qkv(sum(lengths))
    expected = torch.cat([one_sequence(part) for part in qkv.split(lengths)])
    out = packed_attention(qkv, SequenceLayout.ragged(lengths), HEADS)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-14)


def test_groups_laid_back_to_back_equal_the_formula() -> None:
    groups = [[2, 2], [3, 1, 1], [6]]
    layout = SequenceLayout.cat([SequenceLayout.ragged(lengths) for lengths in groups])
    qkv = random_qkv(layout.num_tokens)
    expected = torch.cat([one_sequence(part) for part in qkv.split(sum(groups, []))])
    torch.testing.assert_close(packed_attention(qkv, layout, HEADS), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lengths", [LENGTHS["equal"], LENGTHS["unsorted"]], ids=["equal", "unsorted"])
def test_nothing_leaks_between_sequences(lengths: list[int]) -> None:
    layout = SequenceLayout.ragged(lengths)
    qkv = random_qkv(sum(lengths))
    before = packed_attention(qkv, layout, HEADS).split(lengths)
    for changed, (start, length) in enumerate(zip(layout.starts, lengths, strict=True)):
        other = qkv.clone()
        other[start : start + length] += 1 + torch.rand(length, 3 * WIDTH, dtype=torch.float64)
        after = packed_attention(other, layout, HEADS).split(lengths)
        for index in range(len(lengths)):
            assert torch.equal(before[index], after[index]) is (index != changed)


def test_gradient_stays_within_the_sequence() -> None:
    lengths = [3, 5, 2]
    qkv = random_qkv(10).requires_grad_()
    packed_attention(qkv, SequenceLayout.ragged(lengths), HEADS)[3:8].square().sum().backward()
    touched = (qkv.grad != 0).any(1)
    assert touched.tolist() == [False] * 3 + [True] * 5 + [False] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_gpu_kernel_equals_the_formula(lengths: list[int]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    qkv = torch.randn(sum(lengths), 3 * 64)
    layout = SequenceLayout.ragged(lengths)
    expected = packed_attention(qkv.bfloat16().double(), layout, 2)
    out = packed_attention(qkv.bfloat16().cuda(), layout, 2)
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=2e-2)
