"""From a config and a checkpoint to a folder of transformers and back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers import mae as reference
from helpers.data import VOCABULARY, write_tokenizer
from helpers.tiny import BACKBONE, STAGES, perturb, tiny_config
from mmengine.config import Config
from mmengine.registry import DefaultScope
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForMaskedLM, AutoProcessor

from momo.apis import get_model
from momo.engine.checkpoint import find_checkpoint, load_weights, write_weights

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import convert_to_transformers as tool  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path, unformatted_configs: None) -> Path:
    """config.py and checkpoint/ of a tiny stage 3, tokenizer/."""
    Config({"model": tiny_config(STAGES[3], vocab_size=len(VOCABULARY))}).dump(tmp_path / "config.py")
    model = perturb(get_model(tmp_path / "config.py"))
    write_weights(tmp_path / "checkpoint", model.state_dict())
    write_tokenizer(tmp_path / "tokenizer")
    return tmp_path


def convert(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Run the tool; words with a dash are options, the others names in the folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["convert_to_transformers.py", *words])
    tool.main()


def test_there_and_back(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    options = ("--part", "masked-lm", "--tokenizer", "tokenizer")
    convert(folder, monkeypatch, "config.py", "checkpoint", "out", *options)
    assert "MoMoForMaskedLM of" in capsys.readouterr().out
    model, processor = AutoModelForMaskedLM.from_pretrained("out"), AutoProcessor.from_pretrained("out")
    assert model.config.mask_token_id == processor.tokenizer.mask_token_id == 4
    with torch.no_grad():
        model.decoder.norm.bias.add_(1)  # trained further
    model.save_pretrained("tuned")
    convert(folder, monkeypatch, "config.py", "tuned", "back", "--back", "--part", "masked-lm")
    before, after = load_weights("checkpoint"), load_weights(find_checkpoint("back"))
    changed = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert changed == ["decoders.text.norm.bias"]
    assert {".".join(name.split(".")[:2]) for name in after} >= {
        "decoders.text",
        "backbone.blocks",
        "backbone.text_embed",
    }


def test_what_it_refuses(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="this model reads text: name the tokenizer"):
        convert(folder, monkeypatch, "config.py", "checkpoint", "out")
    with pytest.raises(SystemExit):
        convert(folder, monkeypatch, "config.py", "checkpoint", "tokenizer")
    assert "tokenizer is there already" in capsys.readouterr().err
    reference.random_mae(norm_pix=False, **reference.SMALL).save_pretrained(folder / "mae")
    with pytest.raises(ValueError, match="mae holds a model of class ViTMAEForPreTraining, which is not one of"):
        convert(folder, monkeypatch, "config.py", "mae", "out", "--back")
    with pytest.raises(FileNotFoundError, match="checkpoint='none'"):
        convert(folder, monkeypatch, "config.py", "none", "out", "--tokenizer", "tokenizer")


@pytest.mark.slow  # mmpretrain takes seconds to import
def test_mmpretrains_classifier(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = {key: value for key, value in BACKBONE.items() if key not in ("type", "vocab_size", "max_text_len")}
    model = dict(
        type="ImageClassifier",
        backbone=dict(type="momo.MoMoViT", vocab_size=0, **backbone),
        head=dict(type="LinearClsHead", num_classes=5, in_channels=32),
        data_preprocessor=dict(mean=[127.5] * 3, std=[50.0] * 3, to_rgb=True),
    )
    Config({"default_scope": "mmpretrain", "model": model}).dump(folder / "image.py")
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        classifier = perturb(get_model(folder / "image.py"))
    write_weights(folder / "classifier", classifier.state_dict())
    convert(folder, monkeypatch, "image.py", "classifier", "out")
    convert(folder, monkeypatch, "image.py", "out", "back", "--back")
    theirs, processor = (
        AutoModelForImageClassification.from_pretrained("out"),
        AutoImageProcessor.from_pretrained("out"),
    )
    assert processor.image_mean == pytest.approx([0.5] * 3)
    assert torch.equal(theirs.classifier.weight, classifier.head.fc.weight)
    assert load_weights("back").keys() == classifier.state_dict().keys()
