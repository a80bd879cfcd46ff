"""Losses against their formulas, one row at a time; what they do in half precision and on nothing."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from momo.models.losses import (
    GlobalContrastiveLoss,
    MaskedImageLoss,
    MaskedLanguageLoss,
    MatchingLoss,
    draw_negatives,
    global_contrastive_loss,
)

CLOSE = dict(rtol=1e-12, atol=0)


def unit_rows(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, 6, generator=generator, dtype=torch.float64), dim=1)


def cross_entropy(logits: list[float], target: int) -> float:
    return math.log(sum(math.exp(x) for x in logits)) - logits[target]


def test_masked_image_loss_by_hand() -> None:
    predicted = torch.tensor([[1.0, 2.0], [0.0, 5.0]])
    target = torch.tensor([[1.0, 4.0], [3.0, 1.0]])
    assert MaskedImageLoss()(predicted, target).item() == ((0 + 4) / 2 + (9 + 16) / 2) / 2


def test_masked_image_loss_on_normalised_pixels() -> None:
    target = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    normalised = [(x - 3) / math.sqrt(14 / 3 + 1e-6) for x in (1, 2, 3, 6)]
    expected = sum((0.5 - x) ** 2 for x in normalised) / 4
    loss = MaskedImageLoss(norm_pix=True)
    assert loss(torch.full((1, 4), 0.5, dtype=torch.float64), target).item() == pytest.approx(expected, rel=1e-12)
    moved = loss(torch.full((1, 4), 0.5, dtype=torch.float64), 7 * target - 40)  # brightness and contrast do not matter
    assert moved.item() == pytest.approx(expected, rel=1e-6)


def test_masked_language_loss_equals_the_formula() -> None:
    logits, target = torch.randn(5, 7, dtype=torch.float64), torch.tensor([0, 6, 3, 3, 1])
    expected = sum(cross_entropy(row, word) for row, word in zip(logits.tolist(), target.tolist(), strict=True)) / 5
    assert MaskedLanguageLoss()(logits, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("words", [3, 6, 7, 12])
def test_language_loss_in_chunks_is_the_same_with_the_same_gradient(words: int) -> None:
    """And no more logits than a chunk's are there at a time."""
    seen: list[int] = []

    def results(chunk_words: int | None) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(words, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        target = torch.randint(9, (words,), generator=generator)

        def head(rows: torch.Tensor) -> torch.Tensor:
            seen.append(len(rows))
            return F.linear(rows, weight)

        loss = MaskedLanguageLoss(chunk_words)(features, target, head)
        return [loss, *torch.autograd.grad(3 * loss, (features, weight))]

    whole = results(None)
    assert seen == [words]
    seen.clear()
    for chunked, expected in zip(results(3), whole, strict=True):
        torch.testing.assert_close(chunked, expected, rtol=1e-12, atol=1e-15)
    assert max(seen) <= 3
    assert sum(seen) == (words if words <= 3 else 2 * words)  # again in backward, but not where one chunk is enough


def test_chunks_of_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk_words=0 must be at least 1, or None for all words at once"):
        MaskedLanguageLoss(0)


def test_matching_loss_equals_the_formula() -> None:
    logits, labels = torch.randn(4, 2, dtype=torch.float64), torch.tensor([1, 0, 0, 1])
    expected = sum(cross_entropy(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)) / 4
    assert MatchingLoss()(logits, labels).item() == pytest.approx(expected, rel=1e-12)


def test_contrastive_loss_equals_the_formula() -> None:
    image, text, scale = unit_rows(4, 1), unit_rows(4, 2), 3.0
    total = 0.0
    for row in range(4):
        total += cross_entropy([scale * float(image[row] @ text[column]) for column in range(4)], row)
        total += cross_entropy([scale * float(text[row] @ image[column]) for column in range(4)], row)
    loss = global_contrastive_loss(image, text, torch.tensor(scale, dtype=torch.float64))
    torch.testing.assert_close(loss, torch.tensor(total / 8, dtype=torch.float64), **CLOSE)


def test_contrastive_loss_starts_at_the_temperature_of_clip_and_reports_similarity() -> None:
    image, text = unit_rows(3, 1), unit_rows(3, 2)
    output = GlobalContrastiveLoss().double()(image, text)
    torch.testing.assert_close(output.similarity, image @ text.T / 0.07, rtol=1e-6, atol=0)
    assert not output.similarity.requires_grad


def test_scale_is_clamped_in_training_alone() -> None:
    loss = GlobalContrastiveLoss(max_scale=100.0)
    nn.init.constant_(loss.logit_scale, math.log(500))
    loss.eval()(unit_rows(2, 1).float(), unit_rows(2, 2).float())
    assert loss.logit_scale.exp().item() == pytest.approx(500, rel=1e-5)
    loss.train()(unit_rows(2, 1).float(), unit_rows(2, 2).float())
    assert loss.logit_scale.exp().item() == pytest.approx(100, rel=1e-5)
    nn.init.constant_(loss.logit_scale, -1.0)
    loss.clamp_scale()
    assert loss.logit_scale.item() == -1.0


@pytest.mark.parametrize("loss", [MaskedImageLoss(), MaskedImageLoss(norm_pix=True), MaskedLanguageLoss()])
def test_nothing_hidden_gives_zero_and_finite_gradients(loss: nn.Module) -> None:
    predicted = torch.zeros(0, 8, requires_grad=True)
    target = torch.zeros(0, dtype=torch.int64) if isinstance(loss, MaskedLanguageLoss) else torch.zeros(0, 8)
    value = loss(predicted, target)
    value.backward()
    assert value.item() == 0
    assert predicted.grad.shape == (0, 8)


def test_half_precision_is_summed_in_single() -> None:
    """A sum of 4,096 squares of 1 in bfloat16 would stop at 256."""
    predicted, target = torch.zeros(4096, 1, dtype=torch.bfloat16), torch.ones(4096, 1, dtype=torch.bfloat16)
    assert MaskedImageLoss()(predicted, target).item() == 1
    logits = torch.zeros(4096, 2, dtype=torch.bfloat16)
    loss = MatchingLoss()(logits, torch.zeros(4096, dtype=torch.int64))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)


def gumbel(*shape: int) -> torch.Tensor:
    return -torch.empty(*shape, dtype=torch.float64).exponential_().log()


def test_negatives_follow_the_softmax_over_candidates() -> None:
    """20,000 draws a row; every frequency within 5 standard deviations of its probability."""
    similarity = torch.tensor([[0.0, 1.0, 2.0, -1.0], [3.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [9.0, 1.0, 1.0, 1.0]])
    candidates = ~torch.eye(4, dtype=torch.bool)
    candidates[2, 0] = False
    probability = similarity.masked_fill(~candidates, -torch.inf).double().softmax(1)
    draws = 20_000
    counts = torch.zeros(4, 4, dtype=torch.float64)
    for noise in gumbel(draws, 4, 4):
        counts[torch.arange(4), draw_negatives(similarity, candidates, noise)] += 1
    assert counts[~candidates].sum() == 0
    deviation = (probability * (1 - probability) / draws).sqrt()
    assert ((counts / draws - probability).abs() <= 5 * deviation + 1e-12).all()


@pytest.mark.parametrize("scale", [0.0, 1e3, 1e30])
def test_a_draw_is_a_candidate_however_large_similarities_are(scale: float) -> None:
    candidates = ~torch.eye(5, dtype=torch.bool)
    similarity = scale * torch.eye(5)  # all weight on what must not be drawn
    for noise in gumbel(100, 5, 5):
        drawn = draw_negatives(similarity, candidates, noise)
        assert candidates[torch.arange(5), drawn].all()


def test_a_draw_is_a_function_of_the_noise() -> None:
    similarity, noise = torch.randn(4, 4), gumbel(4, 4)
    candidates = ~torch.eye(4, dtype=torch.bool)
    first = draw_negatives(similarity, candidates, noise)
    torch.manual_seed(1)
    assert torch.equal(draw_negatives(similarity, candidates, noise), first)


def test_a_row_without_candidates_does_not_fail() -> None:
    drawn = draw_negatives(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool), gumbel(1, 1))
    assert drawn.shape == (1,)
