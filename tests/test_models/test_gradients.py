"""Which parameters each loss reaches; and that CMGA's two settings give the same gradients."""

import pytest
import torch
from helpers.tiny import preprocessed, tiny_batches, tiny_pretrainer, update_gradients

SHARED = ("backbone.cls_token", "backbone.blocks.", "backbone.norm.")
IMAGE, TEXT = "backbone.image_embed.", "backbone.text_embed."
# What each loss is meant to train; a name may be a prefix. '-' takes away again.
REACH = {
    "image/mim_loss_pixels": (*SHARED, IMAGE, "decoders.image."),
    "text/mlm_loss_words": (*SHARED, TEXT, "decoders.text."),
    "image_text/cmm_loss_pixels": (
        *(*SHARED, IMAGE, TEXT, "decoders.cross_modal."),
        *("-decoders.cross_modal.token_head.", "-decoders.cross_modal.token_bias"),
    ),
    "image_text/cmm_loss_words": (*SHARED, IMAGE, TEXT, "decoders.cross_modal.", "-decoders.cross_modal.pixel_head."),
    "image_text/itc_loss": (*SHARED, IMAGE, TEXT, "objectives.image_text.itc."),
    "image_text/itm_loss": (*SHARED, IMAGE, TEXT, "objectives.image_text.itm."),
}


@pytest.fixture(scope="module")
def slopes() -> dict[str, set[str]]:
    """Of each loss, the parameters that it has a gradient for, other than zero."""
    model = tiny_pretrainer("all")
    names, parameters = zip(*model.named_parameters(), strict=True)
    losses = model(preprocessed(model, tiny_batches(model, 6)))
    reached = {}
    for key, loss in losses.items():
        if "loss" in key:
            grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            found = zip(names, grads, strict=True)
            reached[key] = {name for name, grad in found if grad is not None and grad.abs().max() > 0}
    reached["every name"] = set(names)
    return reached


@pytest.mark.parametrize("loss", REACH)
def test_gradient_reaches_each_intended_parameter_and_no_other(slopes: dict, loss: str) -> None:
    wanted = tuple(prefix for prefix in REACH[loss] if not prefix.startswith("-"))
    but = tuple(prefix[1:] for prefix in REACH[loss] if prefix.startswith("-"))
    expected = {name for name in slopes["every name"] if name.startswith(wanted) and not name.startswith(but or "?")}
    assert slopes[loss] == expected


def test_every_loss_is_named_above_and_every_parameter_is_trained(slopes: dict) -> None:
    assert set(slopes) - {"every name"} == set(REACH)
    assert set().union(*(slopes[loss] for loss in REACH)) == slopes["every name"]


def test_word_embedding_is_tied_to_the_language_head() -> None:
    """Words that occur nowhere in the batch are trained too: through the logits they lose by."""
    model = tiny_pretrainer({"text": {"mlm": dict(type="MLM", decoder="text")}})
    batches = preprocessed(model, tiny_batches(model))
    model(batches)["text/mlm_loss_words"].backward()
    absent = sorted(set(range(100)) - set(batches["text"]["words"].tolist()))
    assert (model.backbone.text_embed.words.weight.grad[absent].abs().amax(1) > 0).all()


@pytest.mark.parametrize("stage", [1, 2, 3, "all"])
def test_joint_gradient_is_the_sequential_one(stage: int | str) -> None:
    """Through the training loop's own update; in 'off', at a learning rate of 0, the steps' gradients add up to it."""
    model = tiny_pretrainer(stage).double()
    batches = tiny_batches(model, 5)
    (joint,), joint_log = update_gradients(model, batches, "joint")
    (sequential,), sequential_log = update_gradients(model, batches, "sequential")
    off, off_log = update_gradients(model, batches, "off")
    assert len(off) == len(model.modalities)
    assert set(joint_log) == set(sequential_log) == set(off_log)
    for key, value in joint_log.items():
        assert sequential_log[key].item() == pytest.approx(value.item(), rel=1e-9), key
        assert off_log[key].item() == pytest.approx(value.item(), rel=1e-9), key
    largest = max(gradient.abs().max() for gradient in joint.values())
    for name, gradient in joint.items():
        torch.testing.assert_close(sequential[name], gradient, rtol=1e-9, atol=1e-12 * largest, msg=name)
        torch.testing.assert_close(sum(step[name] for step in off), gradient, rtol=1e-9, atol=1e-12 * largest, msg=name)
