"""The pairs that ITM judges."""

from unittest import mock

import numpy as np
import pytest
import torch
from helpers.tiny import preprocessed, tiny_pretrainer, tiny_samples, with_word_tokens

from momo.datasets import PackedCollate
from momo.models import MoMoPretrainer
from momo.models.objectives.matching import mismatched_pairs
from momo.ops import PackedTokens, SequenceLayout
from momo.registry import MODELS

TABLE = {"image_text": {"itc": dict(type="ITC"), "itm": dict(type="ITM")}}


def batch_of(model: MoMoPretrainer, samples: list) -> dict:
    collate = PackedCollate(model.planners("image_text"))
    return preprocessed(model, {"image_text": collate(samples)})["image_text"]


def test_true_pairs_come_with_a_wrong_text_and_a_wrong_image_each() -> None:
    model = tiny_pretrainer(TABLE)
    plan = batch_of(model, tiny_samples("image_text", 6))["plans"]["itm"]
    images, texts = mismatched_pairs(plan, torch.randn(6, 6))
    assert images[:6].tolist() == texts[:6].tolist() == list(range(6))
    assert images[6:12].tolist() == list(range(6)) and (texts[6:12] != images[6:12]).all()
    assert texts[12:].tolist() == list(range(6)) and (texts[12:] != images[12:]).all()


def test_the_most_similar_are_drawn() -> None:
    model = tiny_pretrainer(TABLE)
    plan = batch_of(model, tiny_samples("image_text", 4))["plans"]["itm"]
    similarity = torch.zeros(4, 4)
    wrong_text, wrong_image = [2, 3, 1, 0], [1, 2, 3, 0]
    similarity[range(4), wrong_text] = 1e4  # rows are images
    images, texts = mismatched_pairs(plan, similarity)
    assert texts[4:8].tolist() == wrong_text
    similarity = torch.zeros(4, 4)
    similarity[wrong_image, range(4)] = 1e4
    images, texts = mismatched_pairs(plan, similarity)
    assert images[8:].tolist() == wrong_image


def test_draws_are_guided_by_the_contrastive_similarity() -> None:
    """What ITM is handed: rows images, columns texts, scaled, and without gradient."""
    model = tiny_pretrainer(TABLE).double()
    batch = batch_of(model, tiny_samples("image_text", 5))
    itc, itm = (model.objectives["image_text"][name] for name in ("itc", "itm"))
    with mock.patch.object(itm, "request", wraps=itm.request) as request:
        model({"image_text": batch})
    (_, _, _, similarity), _ = request.call_args
    tokens = itc.request(model.backbone, with_word_tokens(model, batch), batch["plans"]["itc"], None).tokens
    image, text = map(model.backbone.encode, tokens)
    image, text = itc.neck.project_image(image), itc.neck.project_text(text)
    expected = itc.contrastive.logit_scale.exp() * image @ text.T
    torch.testing.assert_close(similarity, expected.detach(), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(similarity, similarity.T)
    assert not similarity.requires_grad


def test_equal_images_and_equal_captions_are_never_drawn() -> None:
    """Samples 0 and 1 share an image, 1 and 2 a caption: each may only be mismatched with 3."""
    model = tiny_pretrainer(TABLE)
    samples = tiny_samples("image_text", 4)
    samples[1]["image"], samples[1]["image_id"] = samples[0]["image"], samples[0]["image_id"]
    samples[1]["words"] = samples[2]["words"].copy()
    batch = batch_of(model, samples)
    place = {name: batch["sample_ids"].index(name) for name in ("image_text/0", "image_text/1", "image_text/2")}
    first, middle, last = place.values()
    for seed in range(50):
        noise = np.random.default_rng(seed).gumbel(size=(2, 4, 4)).astype(np.float32)
        plan = batch["plans"]["itm"]._replace(noise=torch.from_numpy(noise))
        images, texts = mismatched_pairs(plan, torch.zeros(4, 4))
        drawn = set(zip(images[4:].tolist(), texts[4:].tolist(), strict=True))
        assert len(images) == 12
        forbidden = {(i, i) for i in range(4)} | {(first, middle), (middle, first), (middle, last), (last, middle)}
        assert not drawn & forbidden


def test_max_pairs_judges_some_pairs_and_draws_from_all() -> None:
    table = {"image_text": {"itc": dict(type="ITC"), "itm": dict(type="ITM", max_pairs=3)}}
    model = tiny_pretrainer(table)
    batch = batch_of(model, tiny_samples("image_text", 8))
    pairs = batch["plans"]["itm"].pairs
    assert len(set(pairs.tolist())) == 3
    drawn: set[int] = set()
    for seed in range(50):
        noise = np.random.default_rng(seed).gumbel(size=(2, 8, 8)).astype(np.float32)
        images, texts = mismatched_pairs(
            batch["plans"]["itm"]._replace(noise=torch.from_numpy(noise)), torch.zeros(8, 8)
        )
        np.testing.assert_array_equal(images[:6], np.tile(pairs, 2))
        np.testing.assert_array_equal(texts[[0, 1, 2, 6, 7, 8]], np.tile(pairs, 2))
        drawn |= set(texts[3:6].tolist()) | set(images[6:].tolist())
    assert drawn == set(range(8))
    chosen = set(pairs.tolist())
    others = {int(pair) for start in range(8, 80, 8) for pair in plan_pairs_of(model, start)}
    assert others - chosen  # which are judged depends on the samples' keys, not on their place
    model(dict(image_text=batch))["image_text/itm_loss"].backward()


def plan_pairs_of(model: MoMoPretrainer, start: int) -> np.ndarray:
    return batch_of(model, tiny_samples("image_text", 8, start))["plans"]["itm"].pairs


def test_labels_follow_the_pairs_through_sorting() -> None:
    """A head that answers with the joint sequence's own content shows whether labels stand beside their pairs."""
    model = tiny_pretrainer(TABLE)
    batch = batch_of(model, tiny_samples("image_text", 5))
    itm, plan = model.objectives["image_text"]["itm"], batch["plans"]["itm"]
    similarity = torch.randn(5, 5)
    request = itm.request(model.backbone, with_word_tokens(model, batch), plan, similarity)
    images, texts = mismatched_pairs(plan, similarity)
    true_lengths = sorted(1 + 4 + batch["word_counts"][texts[images == texts]])
    lengths = np.array(request.tokens[0].layout.lengths)
    assert sorted(lengths[request.labels.numpy() == 1]) == true_lengths
    assert lengths.tolist() == sorted(lengths)
    assert request.labels.sum().item() == 5


def test_joint_sequences_hold_what_they_should() -> None:
    """Each judged sequence, rebuilt from its image's visible patches and its text."""
    model = tiny_pretrainer(TABLE).double()
    batch = batch_of(model, tiny_samples("image_text", 4))
    itm, plan, backbone = model.objectives["image_text"]["itm"], batch["plans"]["itm"], model.backbone
    similarity = torch.randn(4, 4)
    request = itm.request(backbone, with_word_tokens(model, batch), plan, similarity)
    patches = backbone.image_embed(batch["images"], plan.patches).view(4, 4, -1)  # a quarter of 16 is visible
    words = backbone.text_embed(batch["words"], batch["positions"]).split(batch["word_counts"].tolist())
    images, texts = mismatched_pairs(plan, similarity)
    order = np.argsort(batch["word_counts"][texts], kind="stable")
    sequences = request.tokens[0].x.split(request.tokens[0].layout.lengths)
    for pair, sequence, label in zip(order, sequences, request.labels, strict=True):
        expected = torch.cat([backbone.cls_token, patches[images[pair]], words[texts[pair]]])
        assert torch.equal(sequence, expected)
        assert label.item() == int(images[pair] == texts[pair])


def reusing(**settings) -> dict:
    """ITM whose true pairs are CMM's; settings hold for both."""
    cmm, itm = dict(type="CMM", decoder="cross_modal", **settings), dict(type="ITM", reuses="cmm", **settings)
    return {"image_text": {"itm": itm, "cmm": cmm, "itc": dict(type="ITC")}}


@pytest.mark.parametrize("max_pairs", [None, 3])
def test_reused_pairs_are_those_of_cross_modal_masking(max_pairs: int | None) -> None:
    """What ITM judges: wrong pairs of what CMM's masks leave, rebuilt token by token, then CMM's own pairs."""
    model = tiny_pretrainer(reusing(max_pairs=max_pairs)).double()
    batch = batch_of(model, tiny_samples("image_text", 5))
    objectives, backbone = model.objectives["image_text"], model.backbone
    itm = objectives["itm"]
    with (
        mock.patch.object(itm, "request", wraps=itm.request) as request,
        mock.patch.object(itm, "loss", wraps=itm.loss) as loss,
    ):
        model({"image_text": batch})
    (_, embedded, plan, similarity), _ = request.call_args
    (judged, *_), _ = loss.call_args
    whole = tiny_pretrainer(reusing()).planners("image_text")["cmm"](batch).encode  # masks of all pairs

    def sequence(image: int, text: int) -> torch.Tensor:
        starts = np.cumsum(batch["word_counts"]) - batch["word_counts"]
        words = (whole.words >= starts[text]) & (whole.words < starts[text] + batch["word_counts"][text])
        patches = whole.patches[whole.patches // 16 == image]
        tokens = [backbone.image_embed(batch["images"], patches), embedded["word_tokens"][whole.words[words]]]
        return torch.cat([backbone.cls_token, *tokens])

    pairs = len(plan.pairs)
    images, texts = (index[pairs:] for index in mismatched_pairs(plan, similarity))
    order = np.argsort(plan.word_counts[texts], kind="stable")
    sequences = [sequence(images[pair], texts[pair]) for pair in order]
    sequences += [sequence(pair, pair) for pair in plan.pairs]
    expected = torch.cat([backbone.encode(PackedTokens.cat([alone(x)])).first() for x in sequences])
    found = torch.cat([tokens.first() for tokens in judged.tokens])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert judged.labels.tolist() == [0] * 2 * pairs + [1] * pairs
    assert pairs == (max_pairs or 5)


def alone(x: torch.Tensor) -> PackedTokens:
    return PackedTokens(x, SequenceLayout.equal(1, len(x)))


def test_a_reused_batch_of_one_is_judged_alone() -> None:
    model = tiny_pretrainer(reusing())
    losses = model({"image_text": batch_of(model, tiny_samples("image_text", 1))})
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_reuse_of_what_is_not_there_or_does_not_fit_is_refused() -> None:
    table = reusing()
    table["image_text"]["itm"]["reuses"] = "itc"
    with pytest.raises(ValueError, match=r"objectives.image_text.itm.reuses='itc' is not one of \['cmm'\]"):
        tiny_pretrainer(table)
    table = reusing(max_pairs=3)
    del table["image_text"]["itm"]["max_pairs"]
    with pytest.raises(ValueError, match=r"itm.max_pairs=None must be that of 'cmm', 3, whose pairs it reuses"):
        tiny_pretrainer(table)


def test_a_batch_of_one_is_judged_alone() -> None:
    model = tiny_pretrainer(TABLE)
    losses = model({"image_text": batch_of(model, tiny_samples("image_text", 1))})
    sum(losses[name] for name in ("image_text/itc_loss", "image_text/itm_loss")).backward()
    assert losses["image_text/itc_loss"].item() == 0
    assert torch.isfinite(losses["image_text/itm_loss"])
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_accuracy_counts_right_answers() -> None:
    model = tiny_pretrainer(TABLE)
    head = model.objectives["image_text"]["itm"].head
    torch.nn.init.zeros_(head.weight)
    batch = batch_of(model, tiny_samples("image_text", 6))
    for bias, expected in (([0.0, 1.0], 1 / 3), ([1.0, 0.0], 2 / 3)):  # always 'match'; never
        head.bias.data = torch.tensor(bias)
        assert model({"image_text": batch})["image_text/itm_accuracy"].item() == torch.tensor(expected).item()


@pytest.mark.parametrize("objective", ["CMM", "ITM"])
def test_max_pairs_below_one_is_refused(objective: str) -> None:
    settings = dict(decoder="cross_modal") if objective == "CMM" else {}
    with pytest.raises(ValueError, match=f"{objective}.max_pairs must be at least 1, or None for all pairs, got 0"):
        MODELS.build(dict(type=objective, max_pairs=0, **settings))
