"""Packed attention against softmax(q k^T / sqrt(D)) v, written out sequence by sequence."""

import math

import pytest
import torch
from torch import Tensor

from momo.ops import AttentionMaps, SequenceLayout, cls_attention, packed_attention

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


@pytest.mark.parametrize("groups", [*([lengths] for lengths in LENGTHS.values()), [[2, 2], [3, 1, 1], [6]]])
def test_first_tokens_alone_equal_the_formula(groups: list[list[int]]) -> None:
    layout, lengths = SequenceLayout.cat(map(SequenceLayout.ragged, groups)), sum(groups, [])
    qkv = random_qkv(sum(lengths))
    expected = torch.stack([one_sequence(part)[0] for part in qkv.split(lengths)])
    q, kv = qkv[list(layout.starts), :WIDTH], qkv[:, WIDTH:]
    torch.testing.assert_close(cls_attention(q, kv, layout, HEADS), expected, rtol=0, atol=1e-14)


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


def random_maps(qkv: Tensor) -> tuple[Tensor, list[Tensor]]:
    layout = SequenceLayout.ragged([3, 3, 2])
    with AttentionMaps() as recorded:
        out = packed_attention(qkv, layout, HEADS)
    return out, recorded.maps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_explicit_maps_give_the_same_output_and_gradient(dtype: torch.dtype) -> None:
    qkv = random_qkv(8).to(dtype).requires_grad_()
    out, maps = random_maps(qkv)
    expected = packed_attention(qkv, SequenceLayout.ragged([3, 3, 2]), HEADS)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14)
    weight = torch.randn_like(out)
    gradients = [torch.autograd.grad((x * weight).sum(), qkv)[0] for x in (out, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)
    assert [tuple(x.shape) for x in maps] == [(2, HEADS, 3, 3), (1, HEADS, 2, 2)]


def test_maps_are_what_the_output_is_made_of() -> None:
    qkv = random_qkv(8)
    out, maps = random_maps(qkv)
    value = qkv[6:, 2 * WIDTH :].view(2, HEADS, -1)  # of the last sequence
    by_hand = torch.einsum("hqk,khd->qhd", maps[1][0], value).flatten(1)
    torch.testing.assert_close(by_hand, out[6:], rtol=0, atol=1e-14)
    assert all(torch.allclose(x.sum(-1), torch.ones_like(x.sum(-1))) and (x >= 0).all() for x in maps)


def test_maps_can_be_differentiated_where_nothing_is_trained() -> None:
    out, maps = random_maps(random_qkv(8))
    gradient, other = torch.autograd.grad(out[6:].sum(), maps[::-1], allow_unused=True)
    assert gradient.abs().sum() > 0
    assert other is None or not other.any()
    with torch.inference_mode():
        assert not random_maps(random_qkv(8))[1][0].requires_grad


def test_outside_nothing_is_recorded() -> None:
    recorded = AttentionMaps()
    with recorded:
        pass
    packed_attention(random_qkv(5), SequenceLayout.equal(1, 5), HEADS)
    assert recorded.maps == []


@pytest.mark.gpu
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_gpu_kernel_equals_the_formula(lengths: list[int]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    qkv = torch.randn(sum(lengths), 3 * 64)
    layout = SequenceLayout.ragged(lengths)
    expected = packed_attention(qkv.bfloat16().double(), layout, 2)
    on_gpu = qkv.bfloat16().cuda()
    out = packed_attention(on_gpu, layout, 2)
    torch.testing.assert_close(out.double().cpu(), expected, rtol=0, atol=2e-2)
    starts = list(layout.starts)
    first = cls_attention(on_gpu[starts, :64], on_gpu[:, 64:], layout, 2)
    torch.testing.assert_close(first.double().cpu(), expected[starts], rtol=0, atol=2e-2)


@pytest.mark.parametrize("length", [7, 400])
def test_half_precision_with_its_gradient_is_close_to_full_precision(length: int) -> None:
    layout, qkv = SequenceLayout.equal(2, length), random_qkv(2 * length)
    upstream = torch.randn(2 * length, WIDTH, dtype=torch.float64)
    results = []
    for dtype in (torch.float64, torch.bfloat16):
        x = qkv.to(dtype, copy=True).requires_grad_()
        out = packed_attention(x, layout, HEADS)
        out.backward(upstream.to(dtype))
        results += [torch.cat([out, x.grad], dim=1).double()]
    torch.testing.assert_close(results[1], results[0], rtol=0.03, atol=0.03)
