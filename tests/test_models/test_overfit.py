"""Four samples, learnt by heart: every loss falls far below where it started, and below what guessing gives."""

import math

import pytest
import torch
from helpers.tiny import STAGES, preprocessed, tiny_batches, tiny_pretrainer

LEFT = 0.3  # of the loss of a guess that knows nothing of the sample


def fitted(objectives: dict, steps: int = 150) -> tuple[dict, dict]:
    """First and last losses; the masks stay the same."""
    model = tiny_pretrainer(objectives)
    batches = preprocessed(model, tiny_batches(model, 4))
    for batch in batches.values():
        if "images" in batch:  # a colour a patch: noise would not go through so narrow a decoder
            batch["images"] = torch.randn(len(batch["keys"]), 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0)
    history = []
    for _ in range(steps):
        losses = model(batches)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: value.item() for name, value in losses.items()})
    return history[0], history[-1]


def test_masked_images() -> None:
    _, last = fitted({"image": {"mim": dict(type="MIM", decoder="image")}})
    assert last["image/mim_loss_pixels"] < LEFT  # colours have unit variance


def test_masked_language() -> None:
    _, last = fitted({"text": {"mlm": dict(type="MLM", decoder="text", mask_ratio=0.3)}})
    assert last["text/mlm_loss_words"] < LEFT * math.log(100)


def test_cross_modal_masking() -> None:
    _, last = fitted({"image_text": {"cmm": dict(type="CMM", decoder="cross_modal")}})
    assert last["image_text/cmm_loss_pixels"] < LEFT
    assert last["image_text/cmm_loss_words"] < LEFT * math.log(100)


def test_contrast_and_matching() -> None:
    _, last = fitted({"image_text": dict(itc=dict(type="ITC"), itm=dict(type="ITM"))})
    assert last["image_text/itc_loss"] < LEFT * math.log(4)
    assert last["image_text/itm_loss"] < LEFT * math.log(2)
    assert last["image_text/itm_accuracy"] > 0.8


@pytest.mark.parametrize("stage", [2, 3])
def test_a_stage_as_a_whole(stage: int) -> None:
    first, last = fitted(STAGES[stage], steps=60)
    for name in first:
        if "loss" in name:
            assert last[name] < 0.8 * first[name], name
