"""Pre-training in transformers' class gives this project's losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny import NUM_PATCHES, STAGES, tiny_pretrainer, tiny_samples
from torch import nn
from transformers import AutoModelForPreTraining

from momo.datasets import PackedCollate
from momo.interop.transformers import MoMoConfig, MoMoForPreTraining, from_transformers, to_transformers
from momo.interop.transformers.modeling_momo_pretraining import draw_mismatches

CLS, MASK = 2, 4  # ids that no tiny sample has
NAMES = {
    "image/mim_loss_pixels": "pixels_loss",
    "text/mlm_loss_words": "words_loss",
    "image_text/cmm_loss_pixels": "pixels_loss",
    "image_text/cmm_loss_words": "words_loss",
    "image_text/itc_loss": "contrastive_loss",
    "image_text/itm_loss": "matching_loss",
}


def converted(model: nn.Module) -> MoMoForPreTraining:
    theirs = to_transformers(model, "pretraining")
    theirs.config.cls_token_id, theirs.config.mask_token_id = CLS, MASK
    return theirs


def batch_of(model: nn.Module, modality: str, count: int) -> dict[str, Any]:
    """A collated batch in which all objectives hide the same patches."""
    planners = {
        name: objective.planner(model.backbone.patch_size, "one salt for all")
        for name, objective in model.objectives[modality].items()
    }
    return PackedCollate(planners)(tiny_samples(modality, count))


def inputs_of(model: nn.Module, batch: dict[str, Any], task: str) -> dict[str, torch.Tensor]:
    """The same batch dense and padded."""
    decode, inputs = batch["plans"][task].decode, {}
    if "images" in batch:
        inputs["pixel_values"] = model.data_preprocessor.normalize(batch["images"])
        hidden = torch.zeros(len(batch["images"]) * NUM_PATCHES, dtype=torch.bool)
        inputs["bool_masked_pos"] = hidden.index_fill(0, decode.hidden_patches, True).view(-1, NUM_PATCHES)
    if "words" in batch:
        words, labels = batch["words"].clone(), torch.full_like(batch["words"], -100)
        labels[decode.hidden_words] = words[decode.hidden_words]
        words[decode.hidden_words] = MASK
        counts = batch["word_counts"]
        ids = torch.zeros(len(counts), 1 + counts.max(), dtype=torch.long)
        padded = torch.full_like(ids, -100)
        ids[:, 0] = CLS
        ends = np.cumsum(counts)
        for row, (count, end) in enumerate(zip(counts, ends, strict=True)):
            ids[row, 1 : 1 + count], padded[row, 1 : 1 + count] = words[end - count : end], labels[end - count : end]
        mask = torch.arange(ids.shape[1]) < 1 + torch.from_numpy(counts)[:, None]
        inputs |= {"input_ids": ids, "labels": padded, "attention_mask": mask.long()}
    return inputs


@torch.no_grad()
@pytest.mark.parametrize(
    ("objectives", "modality", "task", "count"),
    [
        (STAGES[1], "image", "mim", 3),
        (dict(image=dict(mim=dict(type="MIM", decoder="image", norm_pix=True, loss_weight=3.0))), "image", "mim", 3),
        (STAGES[2], "image", "mim", 3),
        (STAGES[2], "text", "mlm", 5),
        (STAGES[3], "text", "mlm", 5),
        (STAGES[3], "image_text", "cmm", 2),  # of two pairs, each has one mismatch: nothing is drawn
        (STAGES[3], "image_text", "cmm", 1),  # of one none: the true pair stands alone
    ],
)
def test_losses_are_this_projects(objectives: dict, modality: str, task: str, count: int) -> None:
    model = tiny_pretrainer(objectives).eval()
    batch = batch_of(model, modality, count)
    expected = model(**model.data_preprocessor({modality: batch}))
    output = converted(model)(**inputs_of(model, batch, task))
    found = {name for name in output.keys() if name.endswith("_loss")}
    losses = {NAMES[name]: value for name, value in expected.items() if "loss" in name}
    assert found == losses.keys() and len(found) == {"mim": 1, "mlm": 1, "cmm": 4}[task]
    for name, value in losses.items():
        torch.testing.assert_close(output[name], value, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.loss, sum(losses.values()), rtol=0, atol=1e-5)


def test_gradients_are_this_projects() -> None:
    model = tiny_pretrainer(3).eval()
    batch = batch_of(model, "image_text", 2)
    losses = model(**model.data_preprocessor({"image_text": batch}))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    theirs = converted(model)
    theirs(**inputs_of(model, batch, "cmm")).loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    names = dict(zip(theirs.state_dict(), from_transformers(theirs, model, "pretraining"), strict=True))
    found = {names[name]: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert found.keys() == gradients.keys() and len(found) > 60
    for name, value in gradients.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=2e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_back_and_forth_changes_nothing(tmp_path: Path) -> None:
    shared = {**STAGES["all"], "image": dict(mim=dict(type="MIM", decoder="cross_modal"))}
    for objectives in (STAGES["all"], shared):
        model = tiny_pretrainer(objectives)
        to_transformers(model, "pretraining").save_pretrained(tmp_path)
        theirs = AutoModelForPreTraining.from_pretrained(tmp_path)
        assert isinstance(theirs, MoMoForPreTraining) and theirs.config.objectives.keys() == {
            *"mim mlm cmm itc itm".split()
        }
        back, own = from_transformers(theirs, model, "pretraining"), model.state_dict()
        assert back.keys() == own.keys()
        assert all(torch.equal(back[name], own[name]) for name in back)


def test_a_fresh_model_is_initialised_and_its_words_can_grow(tmp_path: Path) -> None:
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=32)
    decoder = dict(decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2)
    config = MoMoConfig(**sizes, **decoder, patch_size=8, vocab_size=50, cls_token_id=CLS, mask_token_id=MASK)
    model = MoMoForPreTraining(config)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert model.decoders["cross_modal"].pixel_head.weight.std() > 0.05
    model.resize_token_embeddings(60)
    assert {name: len(bias) for name, bias in model.word_bias.items()} == {"text": 60, "cross_modal": 60}
    model.save_pretrained(tmp_path)
    again = MoMoForPreTraining.from_pretrained(tmp_path)
    assert again(torch.tensor([[CLS, 55, MASK]])).logits.shape == (1, 3, 60)


def test_mismatches_are_drawn_by_similarity() -> None:
    torch.manual_seed(0)
    chances = torch.tensor([0.0, 0.6, 0.3, 0.1])
    similarity = chances.clamp(min=0.5e-3).log().expand(4000, -1).clone()
    similarity[:, 0] = 100.0  # likeliest, but no candidate
    candidates = torch.tensor([False, True, True, True]).expand(4000, -1)
    drawn = draw_mismatches(similarity, candidates).bincount(minlength=4) / 4000
    torch.testing.assert_close(drawn, chances, rtol=0, atol=0.04)  # 5 standard errors


@torch.no_grad()
def test_equal_captions_are_no_mismatch() -> None:
    theirs = converted(tiny_pretrainer(3).eval())
    ids, images = torch.tensor([[CLS, 7, 8], [CLS, 7, 8]]), torch.randn(2, 3, 32, 32)
    alone = [theirs(ids[i : i + 1], pixel_values=images[i : i + 1]).matching_loss for i in range(2)]
    torch.testing.assert_close(theirs(ids, pixel_values=images).matching_loss, sum(alone) / 2)


def test_what_it_refuses() -> None:
    model = converted(tiny_pretrainer(1))
    with pytest.raises(ValueError, match=r"config.objectives=\['mim'\] have no 'mlm', which these inputs are for"):
        model(torch.tensor([[CLS, 8]]))
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    for objectives, message in (
        ({"mlm": {}}, r"config.objectives\['mlm'\]={} needs the name of its 'decoder'"),
        ({"mlmm": {}}, r"config.objectives\['mlmm'\] is unknown; known are \['mim'"),
        ({"itm": {}}, r"config.objectives\['itm'\] draws mismatches by the similarity of 'itc'"),
    ):
        with pytest.raises(ValueError, match=message):
            MoMoForPreTraining(MoMoConfig(**sizes, objectives=objectives))
    model = tiny_pretrainer(2)
    model.decoders["text"].blocks.append(model.decoders["text"].blocks[0])
    with pytest.raises(ValueError, match="decoders.text is of another size than others"):
        to_transformers(model, "pretraining")
    model.objectives["text"]["mlm"] = nn.Identity()
    with pytest.raises(ValueError, match=r"transformers' class has no objective \['Identity'\]"):
        to_transformers(model, "pretraining")
