"""What the encoder leaves out, and what it computes twice, changes nothing: in float64, with gradients."""

from pathlib import Path

import pytest
import torch
from helpers.processes import run_in_processes
from helpers.tiny import preprocessed, tiny_batches, tiny_pretrainer, tiny_vit, update_gradients
from torch import Tensor

from momo.engine import MoMoDistributedDataParallel
from momo.ops import PackedTokens, SequenceLayout

LENGTHS = ([4, 4, 4], [1, 2, 2, 6], [3], [5, 1, 5])
CHUNK = 7  # tokens: of the tiny sequences, of 2 to 17, some share a chunk and some are longer


def parts_of(encoder: torch.nn.Module) -> list[PackedTokens]:
    generator = torch.Generator().manual_seed(0)
    layouts = [SequenceLayout.ragged(lengths) for lengths in LENGTHS]
    return [
        PackedTokens(torch.randn(layout.num_tokens, 32, generator=generator, dtype=torch.float64), layout)
        for layout in layouts
    ]


def outcome(cls_only: list[bool], **settings) -> tuple[list[Tensor], list[Tensor]]:
    """[CLS] of each part as encoded together, and the gradients of all weights and tokens."""
    torch.manual_seed(0)
    encoder = tiny_vit(**settings).double()
    parts = parts_of(encoder)
    for part in parts:
        part.x.requires_grad_()
    encoded = encoder.encode_together(parts, cls_only)
    for part, tokens, only in zip(parts, encoded, cls_only, strict=True):
        assert tokens.layout.lengths == ((1,) * part.layout.num_sequences if only else part.layout.lengths)
    firsts = [tokens.first() for tokens in encoded]
    weights = [*encoder.blocks.parameters(), *encoder.norm.parameters()]
    slopes = torch.autograd.grad(sum(x.sin().sum() for x in firsts), [*(part.x for part in parts), *weights])
    return firsts, list(slopes)


@pytest.mark.parametrize("cls_only", [[True] * 4, [False, True, False, True], [True, False, False, False]])
@pytest.mark.parametrize(
    "settings", [{}, dict(chunk_tokens=CHUNK), dict(with_cp=True), dict(with_cp=True, chunk_tokens=1)]
)
def test_first_tokens_alone_are_those_among_all(cls_only: list[bool], settings: dict) -> None:
    expected, found = outcome([False] * 4), outcome(cls_only, **settings)
    for values, others in zip(expected, found, strict=True):
        for value, other in zip(values, others, strict=True):
            torch.testing.assert_close(other, value, rtol=1e-9, atol=1e-13)


def test_chunks_keep_what_drop_path_draws() -> None:
    """What is computed again in backward skips the same branches, or else the gradient is another function's."""
    torch.manual_seed(0)
    encoder = tiny_vit(chunk_tokens=CHUNK, drop_path_rate=0.5).double().train()
    part = parts_of(encoder)[0]

    def value(scale: Tensor) -> Tensor:
        torch.manual_seed(1)
        return encoder.encode(PackedTokens(part.x * scale, part.layout)).x.sin().sum()

    scale, step = torch.ones((), dtype=torch.float64, requires_grad=True), 1e-6
    (slope,) = torch.autograd.grad(value(scale), scale)
    with torch.no_grad():
        by_difference = (value(scale + step) - value(scale - step)) / (2 * step)
    torch.testing.assert_close(slope, by_difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("cmga", ["joint", "sequential"])
def test_gradient_of_a_step_in_chunks_is_that_of_the_undivided_one(cmga: str) -> None:
    """Gradient caching: contrast and matching see the whole batch, the encoder a few sequences at a time."""
    (expected,), log = update_gradients(*model_and_batches(None), cmga)
    (found,), chunked_log = update_gradients(*model_and_batches(CHUNK), cmga)
    assert log.keys() == chunked_log.keys()
    assert_equal(found, expected)


def model_and_batches(chunk_tokens: int | None, rank: int = 0, count: int = 5) -> tuple:
    model = tiny_pretrainer("all", chunk_tokens=chunk_tokens).double()
    return model, tiny_batches(model, count, start=10 * rank)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12 * largest, msg=name)


def test_evaluation_in_chunks_is_the_same() -> None:
    values = []
    for chunk_tokens in (None, CHUNK):
        model, batches = model_and_batches(chunk_tokens)
        with torch.no_grad():
            values.append(model.eval()(preprocessed(model, batches)))
    for name, value in values[0].items():
        torch.testing.assert_close(values[1][name], value, rtol=1e-9, atol=0)


def gathered_gradients(rank: int) -> list[dict[str, Tensor]]:
    """Whole and in chunks; ranks hold sequences of different lengths, and so different numbers of chunks."""
    results = []
    for chunk_tokens in (None, CHUNK):
        model, batches = model_and_batches(chunk_tokens, rank)
        (step,), _ = update_gradients(MoMoDistributedDataParallel(model), batches, "joint")
        results.append(step)
    return results


@pytest.mark.dist
def test_chunks_with_contrast_across_processes_give_the_undivided_gradient(tmp_path: Path) -> None:
    for whole, chunked in run_in_processes(gathered_gradients, tmp_path):
        assert_equal(chunked, whole)
