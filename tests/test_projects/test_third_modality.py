"""A modality from outside: sound, without a line of momo/ that knows of it."""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny import BACKBONE, DECODERS, gradients, perturb, tiny_batch
from mmengine.registry import DefaultScope

from momo.datasets import PackedCollate
from momo.engine.launch import load_config
from momo.models import MoMoPretrainer
from momo.registry import MODELS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import projects.third_modality.masked_sound  # noqa: E402, F401
from projects.third_modality.sounds import KINDS, RATE, MadeSounds, MelSpectrogram, make_sound  # noqa: E402


def spectrogram_of(wave: np.ndarray) -> np.ndarray:
    return MelSpectrogram()({"waveform": wave})["image"][0].numpy()


def band_of(frequency: float) -> float:
    """Place among 64 bands, evenly spaced on the mel scale from 60 Hz to half the sampling rate."""
    mel = [2595 * np.log10(1 + f / 700) for f in (frequency, 60, RATE / 2)]
    return (mel[0] - mel[1]) / (mel[2] - mel[1]) * 65 - 1


@pytest.mark.parametrize("frequency", [300, 1000, 2500])
def test_a_tone_is_a_line_at_its_band(frequency: float) -> None:
    picture = spectrogram_of(np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE))
    assert picture.shape == (64, 64) and picture.max() == 255
    loudest = picture[:, 4:-4].argmax(0)
    assert (np.abs(loudest - band_of(frequency)) <= 1).all()


def test_what_rises_rises() -> None:
    for kind, sign in (("rising", 1), ("falling", -1)):
        picture = spectrogram_of(make_sound(kind, np.random.default_rng(1))).astype(int)
        loud = np.flatnonzero(picture.max(0) > 230)
        bands = picture[:, loud].argmax(0)
        assert sign * (bands[-4] - bands[3]) > 3


def test_a_tenth_as_loud_is_20_decibel_below() -> None:
    t = np.arange(RATE) / RATE
    wave = np.sin(2 * np.pi * 1000 * t) * np.where(t < 0.5, 1, 0.1)
    row = spectrogram_of(wave).max(0).astype(int)
    assert row[16] == pytest.approx(255, abs=1) and row[48] == pytest.approx(255 * 60 / 80, abs=2)


def test_sounds_are_functions_of_number_and_split() -> None:
    step = dict(type="MelSpectrogram")
    train, val = (MadeSounds(split, 16, [step]) for split in ("train", "val"))
    assert torch.equal(train[3]["image"], train[3]["image"])
    assert not torch.equal(train[3]["image"], val[3]["image"])
    assert not torch.equal(train[3]["image"], train[3 + len(KINDS)]["image"])
    assert [train.read(k)["sample_id"].split()[-1] for k in range(len(KINDS))] == list(KINDS)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="'whale'"):
        make_sound("whale", np.random.default_rng(0))


def tiny_model() -> MoMoPretrainer:
    decoders = {name: deepcopy(DECODERS[name]) for name in ("image", "text")}
    cfg = dict(
        type="MoMoPretrainer",
        data_preprocessor=dict(type="SoundPreprocessor", sound_mean=50.0, sound_std=40.0),
        backbone={**BACKBONE, "type": "SoundMoMoViT", "spectrogram_size": 64},
        decoders={**decoders, "sound": {**decoders["image"], "in_channels": 1, "img_size": 64}},
        objectives=dict(
            image=dict(mim=dict(type="MIM", decoder="image")),
            text=dict(mlm=dict(type="MLM", decoder="text")),
            sound=dict(masked=dict(type="MaskedSound", decoder="sound")),
        ),
    )
    return perturb(MODELS.build(cfg))


def batches(model: MoMoPretrainer) -> dict:
    dataset = MadeSounds("test", 8, [dict(type="MelSpectrogram")])
    sound = PackedCollate(model.planners("sound"))([dataset[k] for k in range(3)])
    return {"image": tiny_batch(model, "image", 4), "text": tiny_batch(model, "text", 5), "sound": sound}


def test_three_modalities_in_one_pass_equal_each_alone() -> None:
    model = tiny_model()
    data = batches(model)
    joint = model(**model.data_preprocessor(data), mode="loss")
    alone = {}
    for modality, batch in data.items():
        alone |= model(**model.data_preprocessor({modality: batch}), mode="loss")
    assert joint.keys() == alone.keys() == {"image/mim_loss_pixels", "text/mlm_loss_words", "sound/masked_loss_pixels"}
    for name, value in joint.items():
        torch.testing.assert_close(value, alone[name])


def test_sound_trains_its_own_parts_and_every_shared_block() -> None:
    model = tiny_model()
    inputs = model.data_preprocessor({"sound": batches(model)["sound"]})
    model(**inputs, mode="loss")["sound/masked_loss_pixels"].backward()
    own = ("backbone.sound_embed.", "backbone.blocks.", "backbone.norm.", "backbone.cls_token", "decoders.sound.")
    # Row 1 of the decoder's mask tokens stands for words, which a spectrogram has none of.
    for name, gradient in gradients(model).items():
        assert gradient.any() == name.startswith(own), name


def test_each_modality_has_its_own_statistics() -> None:
    model = tiny_model()
    data = batches(model)
    inputs = model.data_preprocessor(data)["inputs"]
    assert list(inputs) == ["image", "text", "sound"]
    torch.testing.assert_close(inputs["sound"]["images"] * 40 + 50, data["sound"]["images"].float())
    torch.testing.assert_close(
        inputs["image"]["images"], model.data_preprocessor.normalize(data["image"]["images"].float())
    )


@pytest.mark.filterwarnings("ignore")
def test_the_config_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    cfg = load_config("projects/third_modality/demo_sound.py", {})
    with torch.device("meta"), DefaultScope.overwrite_default_scope("momo"):
        assert MODELS.build(cfg.model).modalities == ("image", "text", "sound")


def test_nothing_in_momo_knows_of_it() -> None:
    for path in (ROOT / "momo").rglob("*.py"):
        text = path.read_text(encoding="utf-8").lower()
        assert "sound" not in text and "spectrogram" not in text, path
