"""The pre-training model: what it returns, what it refuses, and inputs at the edge."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.tiny import (
    DECODERS,
    STAGES,
    preprocessed,
    tiny_batch,
    tiny_batches,
    tiny_config,
    tiny_pretrainer,
    tiny_samples,
    with_word_tokens,
)

from momo.datasets import PackedCollate
from momo.models import MoMoDataPreprocessor, MoMoDecoder
from momo.ops import keyed_generator, sincos_1d, sincos_2d
from momo.registry import MODELS

NAMES = {
    1: {"image/mim_loss_pixels"},
    2: {"image/mim_loss_pixels", "text/mlm_loss_words"},
    3: {
        "text/mlm_loss_words",
        *(f"image_text/{name}" for name in ("cmm_loss_pixels", "cmm_loss_words", "itc_loss", "itm_loss")),
        "image_text/itm_accuracy",
    },
}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_returns_its_losses(stage: int) -> None:
    model = tiny_pretrainer(stage)
    losses = model(preprocessed(model, tiny_batches(model)))
    assert set(losses) == NAMES[stage]
    total, log = model.parse_losses(losses)
    assert total.item() == pytest.approx(sum(losses[name].item() for name in losses if "loss" in name), rel=1e-6)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_losses_and_gradients_are_finite_in_bfloat16_and_near_those_in_float32(stage: int) -> None:
    model = tiny_pretrainer(stage)
    batches = preprocessed(model, tiny_batches(model))
    exact = model(batches)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(batches)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    for name, value in losses.items():
        if "itm" not in name:  # other negatives may be drawn
            assert value.item() == pytest.approx(exact[name].item(), rel=0.05), name
        assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_nothing_masked_gives_zero_loss_and_finite_gradients() -> None:
    table = dict(
        image=dict(mim=dict(type="MIM", decoder="image", mask_ratio=0.0)),
        text=dict(mlm=dict(type="MLM", decoder="text", mask_ratio=0.0)),
        image_text=dict(cmm=dict(type="CMM", decoder="cross_modal", image_mask_ratio=0.0, text_mask_ratio=0.0)),
    )
    model = tiny_pretrainer(table)
    losses = model(preprocessed(model, tiny_batches(model)))
    assert {name: value.item() for name, value in losses.items()} == dict.fromkeys(losses, 0.0)
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_texts_of_one_piece_hide_nothing() -> None:
    model = tiny_pretrainer(STAGES[3])
    samples = tiny_samples("text", 3)
    for sample in samples:
        sample["words"] = sample["words"][:1]
    batch = PackedCollate(model.planners("text"))(samples)
    losses = model(preprocessed(model, {"text": batch}))
    losses["text/mlm_loss_words"].backward()
    assert losses["text/mlm_loss_words"].item() == 0


def test_captions_of_one_piece_are_finite() -> None:
    model = tiny_pretrainer(STAGES[3])
    samples = tiny_samples("image_text", 3)
    for sample in samples:
        sample["words"] = sample["words"][:1]
    batch = PackedCollate(model.planners("image_text"))(samples)
    losses = model(preprocessed(model, {"image_text": batch}))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert losses["image_text/cmm_loss_words"].item() == 0
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_batches_of_one_are_finite() -> None:
    model = tiny_pretrainer("all")
    losses = model(preprocessed(model, {name: tiny_batch(model, name, 1) for name in model.modalities}))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_loss_weight_scales_a_loss() -> None:
    for modality, table in STAGES["all"].items():
        for name, cfg in table.items():
            if name == "itm":  # its loss is weighed below, beside its guide
                continue
            plain = tiny_pretrainer({modality: {name: cfg}})
            weighed = tiny_pretrainer({modality: {name: {**cfg, "loss_weight": 0.25}}})
            batches = preprocessed(plain, tiny_batches(plain))
            losses, fractions = plain(batches), weighed(batches)
            for key in losses:
                assert fractions[key].item() == 0.25 * losses[key].item()
    pairs = STAGES["all"]["image_text"]
    plain = tiny_pretrainer({"image_text": pairs})
    weighed = tiny_pretrainer({"image_text": {**pairs, "itm": {**pairs["itm"], "loss_weight": 0.25}}})
    batches = preprocessed(plain, tiny_batches(plain))
    assert weighed(batches)["image_text/itm_loss"].item() == 0.25 * plain(batches)["image_text/itm_loss"].item()


def test_masks_differ_between_objectives_samples_and_keys_and_are_drawn_again_alike() -> None:
    model = tiny_pretrainer("all")
    plans = tiny_batch(model, "image_text", 4)["plans"]
    again = tiny_batch(model, "image_text", 4)["plans"]
    assert torch.equal(plans["cmm"].encode.patches, again["cmm"].encode.patches)
    assert torch.equal(plans["itm"].noise, again["itm"].noise)
    visible = {
        "cmm": plans["cmm"].encode.patches,
        "itc": plans["itc"].image.patches,
        "itm": plans["itm"].patches,
    }
    assert all(len(rows) == 16 for rows in visible.values())  # 4 of 16 patches of 4 images
    assert len({tuple(rows.tolist()) for rows in visible.values()}) == 3
    per_image = {tuple((rows % 16).tolist()) for rows in visible["itc"].split(4)}
    assert len(per_image) > 1
    assert not torch.equal(plans["itm"].noise[0], plans["itm"].noise[1])


def test_masks_of_a_pair_come_from_one_draw_a_sample() -> None:
    """Patches take its first 16 numbers, words those after: what hides a patch does not hide a word."""
    model = tiny_pretrainer("all")
    batch = tiny_batch(model, "image_text", 6)
    decode = batch["plans"]["cmm"].decode
    patches, words, first_word = set(), set(), 0
    for row, (key, count) in enumerate(zip(batch["keys"].tolist(), batch["word_counts"].tolist(), strict=True)):
        draw = keyed_generator(key, "image_text/cmm").random(16 + count)
        patches |= {16 * row + index for index in np.argsort(draw[:16])[:12]}
        hidden = min(max(round(0.75 * count), 1), count - 1)
        words |= {first_word + index for index in np.argsort(draw[16:])[:hidden]}
        first_word += count
    assert set(decode.hidden_patches.tolist()) == patches
    assert set(decode.hidden_words.tolist()) == words


def test_objectives_of_different_names_may_share_a_decoder() -> None:
    """Table 6: 'shared' is the same name in both, and then both losses train the same weights."""
    cfg = tiny_config(STAGES[2])
    cfg["decoders"] = dict(shared=DECODERS["cross_modal"])
    for table in cfg["objectives"].values():
        for objective in table.values():
            objective["decoder"] = "shared"
    model = MODELS.build(cfg)
    assert list(model.decoders) == ["shared"]
    losses = model(preprocessed(model, tiny_batches(model)))
    blocks = list(model.decoders["shared"].blocks.parameters())
    for loss in losses.values():
        assert all(slope.abs().max() > 0 for slope in torch.autograd.grad(loss, blocks, retain_graph=True))


def test_stages_2_and_3_may_be_one() -> None:
    """Table 5: objectives are combined in the config alone."""
    model = tiny_pretrainer("all")
    losses = model(preprocessed(model, tiny_batches(model)))
    assert set(losses) == NAMES[2] | NAMES[3]


def test_decoder_takes_the_sizes_that_it_shares_with_the_encoder() -> None:
    model = tiny_pretrainer(3, patch_size=16, vocab_size=50)
    decoder = model.decoders["cross_modal"]
    assert decoder.pixel_head.out_features == 3 * 16 * 16
    assert decoder.token_bias.shape == (50,)
    assert decoder.base_grid == model.backbone.image_embed.base_grid == (2, 2)
    assert decoder.embed.in_features == 32
    assert decoder.word_positions.shape == (12, 16)


def test_validation_returns_floats_with_sample_counts() -> None:
    model = tiny_pretrainer(2).eval()
    batches = tiny_batches(model, 3)
    with torch.no_grad():
        expected = model(preprocessed(model, batches))
        (result,) = model.val_step(batches)
    assert result == {
        "image/mim_loss_pixels": (expected["image/mim_loss_pixels"].item(), 3),
        "text/mlm_loss_words": (expected["text/mlm_loss_words"].item(), 4),
    }


def broken(path: tuple[str, ...], value: object) -> dict:
    cfg = deepcopy(tiny_config(STAGES[3]))
    place = cfg
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return cfg


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("objectives", "text", "mlm", "decoder"),
            "txt",
            r"objectives.text.mlm.decoder='txt' is not one of \['cross_modal', 'text'\]",
        ),
        (
            ("objectives", "image_text", "itm", "guide"),
            "contrast",
            r"objectives.image_text.itm.guide='contrast' is not one of \['itc'\]",
        ),
        (("objectives", "image_text", "itm", "guide"), "cmm", r"itm.guide='cmm' is not one of \['itc'\]"),
        (("decoders", "text", "outputs"), ["pixels"], r"decoder='text': that decoder's outputs lack \['tokens'\]"),
        (("decoders", "text", "outputs"), ["sound"], r"outputs=\('sound',\) must name 'pixels', 'tokens' or both"),
        (("decoders", "text", "outputs"), [], r"outputs=\(\) must name"),
        (("decoders", "text", "num_heads"), 3, "num_heads=3 does not divide the width 16"),
    ],
)
def test_refuses_configs_that_cannot_work(path: tuple[str, ...], value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(broken(path, value))


def test_refuses_modes_and_modalities_that_it_does_not_know() -> None:
    model = tiny_pretrainer(1)
    batch = preprocessed(model, tiny_batches(model))
    with pytest.raises(ValueError, match="mode='tensor': a pre-training model knows 'loss' and 'predict'"):
        model(batch, mode="tensor")
    with pytest.raises(ValueError, match=r"no objectives for \['sound'\]; this model has them for \['image'\]"):
        model({"sound": batch["image"]})


def test_ratio_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"MIM.mask_ratio must lie in \[0, 1\), got 1.0"):
        tiny_pretrainer({"image": {"mim": dict(type="MIM", decoder="image", mask_ratio=1.0)}})


def test_preprocessor_normalises_and_back() -> None:
    preprocessor = MoMoDataPreprocessor(mean=(10, 20, 30), std=(1, 2, 4))
    images = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    batches = {"image": {"images": images, "keys": [1]}, "text": {"words": torch.tensor([1, 2])}}
    inputs = preprocessor(batches, True)["inputs"]
    normal = inputs["image"]["images"]
    assert normal[0, 0, 0, 1].item() == -9 and normal[0, 1, 0, 0].item() == -2 and normal[0, 2, 3, 3].item() == 17 / 4
    assert torch.equal(preprocessor.denormalize(normal), images.float())
    assert preprocessor.denormalize(normal + 1000).max().item() == 255
    assert batches["image"]["images"].dtype == torch.uint8  # the loader's batch is left alone
    assert inputs["text"]["words"].tolist() == [1, 2]


def test_decoder_tells_hidden_patches_from_hidden_words_and_places_apart() -> None:
    """Hidden rows enter the decoder as the mask token of their kind plus their position, seen rows as embedded."""
    model = tiny_pretrainer(STAGES[3])
    batch = preprocessed(model, {"image_text": tiny_batch(model, "image_text", 3)})["image_text"]
    decoder: MoMoDecoder = model.decoders["cross_modal"]
    plan = batch["plans"]["cmm"]
    decoder.blocks = torch.nn.ModuleList()  # what comes out is what went in
    request = model.objectives["image_text"]["cmm"].request(model.backbone, with_word_tokens(model, batch), plan, None)
    encoded = model.backbone.encode(request.tokens[0])
    entered = decoder(encoded, plan.decode, (4, 4)).x
    patches, words = sincos_2d((4, 4), 16), sincos_1d(torch.arange(12), 16).float()
    place = {0: torch.zeros(16)}
    place |= {1 + index: patches[index] for index in range(16)} | {17 + index: words[index] for index in range(12)}
    seen = dict(zip(plan.decode.visible.tolist(), decoder.embed(encoded.x), strict=True))
    for row, position in enumerate(plan.decode.positions.tolist()):
        content = seen[row] if row in seen else decoder.mask_tokens.weight[int(position > 16)]
        torch.testing.assert_close(entered[row], content + place[position], rtol=0, atol=1e-6)
