"""In float64: what a sequence becomes does not depend on what is packed beside it, nor on what is hidden from it."""

import numpy as np
import pytest
import torch
from helpers.tiny import VOCAB_SIZE, preprocessed, tiny_pretrainer, tiny_samples, with_word_tokens
from torch import Tensor

from momo.datasets import PackedCollate
from momo.models import MoMoPretrainer
from momo.ops import PackedTokens

CLOSE = dict(rtol=0, atol=1e-12)
ENCODED = {"image": "mim", "text": "mlm", "image_text": "cmm"}


@pytest.fixture(scope="module")
def model() -> MoMoPretrainer:
    return tiny_pretrainer("all").double().eval()


def collated(model: MoMoPretrainer, modality: str, samples: list) -> dict:
    return preprocessed(model, {modality: PackedCollate(model.planners(modality))(samples)})[modality]


def visible_tokens(model: MoMoPretrainer, modality: str, batch: dict) -> PackedTokens:
    name = ENCODED[modality]
    objective, plan = model.objectives[modality][name], batch["plans"][name]
    request = objective.request(model.backbone, with_word_tokens(model, batch), plan, None)
    return request.tokens[0]


def encoded_sequences(tokens: PackedTokens, model: MoMoPretrainer) -> tuple[Tensor, ...]:
    return model.backbone.encode(tokens).x.split(tokens.layout.lengths)


@pytest.mark.parametrize("modality", ENCODED)
def test_visible_sequences_packed_equal_each_alone(model: MoMoPretrainer, modality: str) -> None:
    samples = tiny_samples(modality, 6)
    batch = collated(model, modality, samples)
    together = encoded_sequences(visible_tokens(model, modality, batch), model)
    by_key = {sample["key"]: sample for sample in samples}
    assert len(set(map(len, together))) > 1 or modality == "image"
    for key, sequence in zip(batch["keys"].tolist(), together, strict=True):
        alone = collated(model, modality, [by_key[key]])
        (expected,) = encoded_sequences(visible_tokens(model, modality, alone), model)
        torch.testing.assert_close(sequence, expected, **CLOSE)


def test_modalities_packed_together_equal_each_alone(model: MoMoPretrainer) -> None:
    parts = [
        visible_tokens(model, modality, collated(model, modality, tiny_samples(modality, 3))) for modality in ENCODED
    ]
    together = encoded_sequences(PackedTokens.cat(parts), model)
    alone = [sequence for part in parts for sequence in encoded_sequences(part, model)]
    for sequence, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(sequence, expected, **CLOSE)


def test_whole_inputs_packed_equal_each_alone(model: MoMoPretrainer) -> None:
    backbone = model.backbone
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    counts = np.array([4, 1, 7])  # in no order
    words = torch.arange(12) * 7 % VOCAB_SIZE
    places = torch.from_numpy(np.concatenate([np.arange(count) for count in counts]))
    ends = np.cumsum(counts)
    per_text = [(slice(end - count, end), np.array([count])) for end, count in zip(ends, counts, strict=True)]

    encoded = backbone.encode_images(images)
    for index, sequence in enumerate(encoded.x.split(encoded.layout.lengths)):
        torch.testing.assert_close(sequence, backbone.encode_images(images[index : index + 1]).x, **CLOSE)

    encoded = backbone.encode_texts(words, places, counts)
    for (own, count), sequence in zip(per_text, encoded.x.split(encoded.layout.lengths), strict=True):
        torch.testing.assert_close(sequence, backbone.encode_texts(words[own], places[own], count).x, **CLOSE)

    encoded = backbone.encode_pairs(images, words, places, counts)
    assert encoded.layout.lengths == tuple(1 + 16 + counts)
    for index, sequence in enumerate(encoded.x.split(encoded.layout.lengths)):
        own, count = per_text[index]
        expected = backbone.encode_pairs(images[index : index + 1], words[own], places[own], count).x
        torch.testing.assert_close(sequence, expected, **CLOSE)


@pytest.mark.parametrize("modality", ENCODED)
def test_loss_of_a_batch_is_the_mean_over_hidden_tokens_of_losses_alone(model: MoMoPretrainer, modality: str) -> None:
    """Also shows that a sample's masks do not depend on its batch."""
    name = ENCODED[modality]
    samples = [sample for sample in tiny_samples(modality, 6) if "words" not in sample or len(sample["words"]) > 1]
    losses, totals, counts = {}, {}, {}
    for group, chosen in (("all", samples), *((index, [sample]) for index, sample in enumerate(samples))):
        batch = collated(model, modality, chosen)
        decode = batch["plans"][name].decode
        hidden = {"pixels": len(decode.hidden_patches), "words": len(decode.hidden_words)}
        for key, value in model({modality: batch}).items():
            kind = key.removeprefix(f"{modality}/{name}_loss_")
            if kind not in hidden:
                continue  # the losses of other objectives
            if group == "all":
                losses[kind] = value
            else:
                totals[kind] = totals.get(kind, 0) + value * hidden[kind]
                counts[kind] = counts.get(kind, 0) + hidden[kind]
    assert losses
    for kind, value in losses.items():
        torch.testing.assert_close(value, totals[kind] / counts[kind], **CLOSE)


@pytest.mark.parametrize("modality", ENCODED)
def test_hidden_tokens_do_not_reach_the_encoder(model: MoMoPretrainer, modality: str) -> None:
    batch = collated(model, modality, tiny_samples(modality, 5))
    before = model.backbone.encode(visible_tokens(model, modality, batch)).x
    decode = batch["plans"][ENCODED[modality]].decode
    changed = dict(batch)
    if "images" in batch:
        changed["images"] = with_patches(batch["images"], decode.hidden_patches, 1000.0)
    if "words" in batch:
        changed["words"] = batch["words"].index_fill(0, decode.hidden_words, 3)
    assert torch.equal(model.backbone.encode(visible_tokens(model, modality, changed)).x, before)


@pytest.mark.parametrize("modality", ENCODED)
def test_loss_compares_hidden_tokens_only(model: MoMoPretrainer, modality: str) -> None:
    """With the encoder's output held fixed, visible content does not change the loss; hidden content does."""
    name = ENCODED[modality]
    objective = model.objectives[modality][name]
    batch = collated(model, modality, tiny_samples(modality, 5))
    plan = batch["plans"][name]
    request = objective.request(model.backbone, with_word_tokens(model, batch), plan, None)
    encoded = request._replace(tokens=[model.backbone.encode(request.tokens[0])])

    def losses(batch: dict) -> list[Tensor]:
        result = objective.loss(encoded, batch, plan, model.backbone, model.decoders[objective.decoder])
        return list(result.losses.values())

    def changed(patches: Tensor, words: Tensor) -> dict:
        other = dict(batch)
        if "images" in batch:
            other["images"] = with_patches(batch["images"], patches, 9.0)
        if "words" in batch:
            other["words"] = batch["words"].index_fill(0, words, 3)
        return other

    visible = changed(plan.encode.patches, plan.encode.words)
    hidden = changed(plan.decode.hidden_patches, plan.decode.hidden_words)
    assert all(torch.equal(a, b) for a, b in zip(losses(visible), losses(batch), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(losses(hidden), losses(batch), strict=True))


def test_one_encoder_serves_all_modalities(model: MoMoPretrainer) -> None:
    """The same Parameter objects: each is reached from every modality's loss."""
    shared = [model.backbone.cls_token, *model.backbone.blocks.parameters(), *model.backbone.norm.parameters()]
    for modality in ENCODED:
        loss = sum(
            value
            for key, value in model({modality: collated(model, modality, tiny_samples(modality, 4))}).items()
            if "loss" in key
        )
        slopes = torch.autograd.grad(loss, shared, allow_unused=True)
        assert all(slope is not None and slope.abs().max() > 0 for slope in slopes)
    names = [name for name, _ in model.named_parameters() if name.startswith("backbone.blocks.")]
    assert len(names) == 12 * len(model.backbone.blocks)


def with_patches(images: Tensor, rows: Tensor, value: float) -> Tensor:
    """A copy of the images with some of the flat patches painted over."""
    images = images.clone()
    for row in rows.tolist():
        index, patch = divmod(row, 16)
        y, x = patch // 4 * 8, patch % 4 * 8
        images[index, :, y : y + 8, x : x + 8] = value
    return images
