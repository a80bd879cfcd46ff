"""What a guess rests on, against the rule written out in one square matrix, and whether hiding it hurts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer
from helpers.tiny import NUM_PATCHES, tiny_pretrainer, with_word_tokens
from torch import Tensor

from momo.apis import deletion_test, explain_word, fill_captions
from momo.datasets import load_tokenizer
from momo.models import MoMoPretrainer, layers
from momo.models.objectives.masked import MaskedPlan
from momo.ops import plan_sequences

CAPTION = "a [MASK] cat runs"  # full sequence: [CLS], 16 patches, 4 words; the hidden word is row 18


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return load_tokenizer(write_tokenizer(folder))


@pytest.fixture
def model() -> MoMoPretrainer:
    return tiny_pretrainer(3, vocab_size=len(VOCABULARY)).eval()


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator))


def written_out(model: MoMoPretrainer, image: Tensor, caption: str, tokenizer, monkeypatch) -> tuple[Tensor, Tensor]:
    """Log-probabilities and the relevance of all 21 rows for the word: attention of its own, head by head, and a square
    matrix in which the mask token is an input like every other."""
    maps = []

    def attention(qkv: Tensor, layout, heads: int) -> Tensor:
        q, k, v = qkv.unflatten(1, (3, heads, -1)).unbind(1)
        outputs = []
        for head in range(heads):
            weights = torch.exp(q[:, head] @ k[:, head].T / q.shape[-1] ** 0.5)
            weights = weights / weights.sum(1, keepdim=True)
            weights.retain_grad()
            maps.append((heads, weights))
            outputs.append(weights @ v[:, head])
        return torch.cat(outputs, 1)

    monkeypatch.setattr(layers, "packed_attention", attention)
    words = torch.tensor(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(caption)))
    hidden = (words == tokenizer.mask_token_id).numpy()
    plan = MaskedPlan(*plan_sequences(1, NUM_PATCHES, [len(words)], hidden_words=hidden))
    batch = {"images": model.data_preprocessor.normalize(image[None]), "words": words}
    batch["positions"] = torch.arange(len(words))
    objective, decoder = model.objectives["image_text"]["cmm"], model.decoders["cross_modal"]
    request = objective.request(model.backbone, with_word_tokens(model, batch), plan, None)
    encoded = model.backbone.encode(request.tokens[0])
    decoded = objective.decode(encoded, batch, plan, model.backbone, decoder)
    logits = decoder.predict_words(decoded, plan.decode.hidden_word_rows, model.backbone.text_embed.words.weight)[0]
    logits.amax().backward()
    monkeypatch.undo()

    size = 1 + NUM_PATCHES + len(words)
    relevance, visible = torch.eye(size), plan.decode.visible
    while maps:
        heads = maps[0][0]
        layer = sum((weights.grad * weights).clamp(min=0) for _, weights in maps[:heads]) / heads
        del maps[:heads]
        rows = visible if len(layer) == len(visible) else torch.arange(size)
        step = torch.eye(size)
        step[rows[:, None], rows] += layer.detach()
        relevance = step @ relevance
    return logits.detach().log_softmax(0), relevance[plan.decode.hidden_word_rows[0]]


def test_equals_the_rule_written_out(model, images, tokenizer, monkeypatch) -> None:
    guesses, row = written_out(model, images[0], CAPTION, tokenizer, monkeypatch)
    found = explain_word(model, images[0], CAPTION, tokenizer)
    assert found.guess == found.explained
    assert found.guess.word == VOCABULARY[guesses.argmax()]
    assert found.guess.probability == pytest.approx(float(guesses.amax().exp()), rel=1e-5)
    assert found.patches.shape == (4, 4)
    scale = float(row[1:17].amax())
    torch.testing.assert_close(found.patches.flatten(), row[1:17], rtol=1e-3, atol=1e-4 * scale)
    torch.testing.assert_close(found.words[[0, 2, 3]], row[[17, 19, 20]], rtol=1e-3, atol=1e-4 * scale)
    assert found.words[1] == 0 and (found.patches > 0).all() and (found.words >= 0).all()
    assert found.pieces == ["a", "[MASK]", "cat", "runs"]


def test_guess_is_the_one_of_filling_in(model, images, tokenizer) -> None:
    for image in images:
        best = fill_captions(model, [image], [CAPTION], tokenizer)[0]
        found = explain_word(model, image, CAPTION, tokenizer).guess
        assert found.word == VOCABULARY[best.argmax()]
        assert found.probability == pytest.approx(float(best.amax().exp()), rel=1e-5)


def test_another_word_rests_on_other_things(model, images, tokenizer) -> None:
    guess = explain_word(model, images[0], CAPTION, tokenizer)
    other = next(word for word in ("moon", "sun") if word != guess.guess.word)
    found = explain_word(model, images[0], CAPTION, tokenizer, other)
    assert found.guess == guess.guess and found.explained.word == other
    expected = fill_captions(model, [images[0]], [CAPTION], tokenizer)[0, VOCABULARY.index(other)].exp()
    assert found.explained.probability == pytest.approx(float(expected), rel=1e-5)
    assert not torch.allclose(found.patches, guess.patches, rtol=0.1)


def test_tokens_that_cannot_talk_have_no_relevance(model, images, tokenizer) -> None:
    for block in model.decoders["cross_modal"].blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
    found = explain_word(model, images[0], CAPTION, tokenizer)
    assert not found.patches.any() and not found.words.any()
    assert deletion_test(model, images[:1], [CAPTION], tokenizer, [None]).relevant.abs().max() < 1e-6


def test_neither_recomputing_nor_freezing_matters_and_nothing_is_left_behind(model, images, tokenizer) -> None:
    expected = explain_word(model, images[1], CAPTION, tokenizer).patches
    model.backbone.with_cp = model.decoders["cross_modal"].with_cp = True
    assert torch.equal(explain_word(model, images[1], CAPTION, tokenizer).patches, expected)
    assert model.backbone.with_cp and model.decoders["cross_modal"].with_cp
    model.requires_grad_(False)
    with torch.no_grad():
        torch.testing.assert_close(explain_word(model, images[1], CAPTION, tokenizer).patches, expected)
    assert all(parameter.grad is None for parameter in model.parameters())


def log_probability(model, image, caption: str, word: str, hidden_patch: int | None, tokenizer) -> float:
    """By way of the loss, with the answer in place of [MASK] and the patch hidden as training hides it."""
    words = torch.tensor(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(caption.replace("[MASK]", word))))
    hidden = np.arange(len(words)) == caption.split().index("[MASK]")
    patches = np.arange(NUM_PATCHES) == (-1 if hidden_patch is None else hidden_patch)
    plan = MaskedPlan(*plan_sequences(1, NUM_PATCHES, [len(words)], patches, hidden))
    batch = {"images": model.data_preprocessor.normalize(image[None]), "words": words, "plans": {"cmm": plan}}
    batch["positions"] = torch.arange(len(words))
    objective = model.objectives["image_text"]["cmm"]
    request = objective.request(model.backbone, with_word_tokens(model, batch), plan, None)
    encoded = model.backbone.encode(request.tokens[0])
    decoded = objective.decode(encoded, batch, plan, model.backbone, model.decoders["cross_modal"])
    weight = model.backbone.text_embed.words.weight
    logits = model.decoders["cross_modal"].predict_words(decoded, plan.decode.hidden_word_rows, weight)
    return -float(objective.language_loss(logits, words[hidden]))


@torch.no_grad()
def test_drops_are_those_of_hiding_the_patch(model, images, tokenizer) -> None:
    image = images[0].clone()
    image[:, :, 8:] = 50  # three of four columns are plain: 0, 4, 8 and 12 show something
    image[0, :, 8:] = 90
    result = deletion_test(model, [image, images[1]], [CAPTION, "a [MASK]"], tokenizer, ["moon", "sun"], draws=40)

    def drop(patch: int) -> float:
        whole = log_probability(model, image, CAPTION, "moon", None, tokenizer)
        return whole - log_probability(model, image, CAPTION, "moon", patch, tokenizer)

    most = int(explain_word(model, image, CAPTION, tokenizer, "moon").patches.argmax())
    assert float(result.relevant[0]) == pytest.approx(drop(most), abs=1e-5)
    drops = [drop(patch) for patch in range(NUM_PATCHES)]
    for found, candidates in ((result.random, drops), (result.random_shown, drops[::4])):
        error = np.std(candidates) / 40**0.5
        assert abs(float(found[0]) - np.mean(candidates)) < 4 * error
    assert min(drops[::4]) - 1e-6 <= float(result.random_shown[0]) <= max(drops[::4]) + 1e-6
    again = deletion_test(model, [image], [CAPTION], tokenizer, ["moon"], draws=40)
    assert [float(x[0]) for x in again] == pytest.approx([float(x[0]) for x in result], abs=1e-6)


def test_refusals(model, images, tokenizer) -> None:
    for caption in ("a cat", "[MASK] and [MASK]"):
        with pytest.raises(ValueError, match=r"needs exactly one \[MASK\]: one guess"):
            explain_word(model, images[0], caption, tokenizer)
    with pytest.raises(ValueError, match="within 12 word pieces"):
        explain_word(model, images[0], "a " * 12 + "[MASK]", tokenizer)
    with pytest.raises(ValueError, match="word='zebra' is no word piece"):
        explain_word(model, images[0], CAPTION, tokenizer, "zebra")
    with pytest.raises(ValueError, match="got 2 images, 1 captions and 1 words"):
        deletion_test(model, images[:2], [CAPTION], tokenizer, [None])
    with pytest.raises(ValueError, match="not trained with CMM"):
        explain_word(tiny_pretrainer(2, vocab_size=len(VOCABULARY)), images[0], CAPTION, tokenizer)
