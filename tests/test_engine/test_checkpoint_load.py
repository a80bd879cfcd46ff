"""Reading weights from files that may be broken, or hostile."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.run import build_runner, run_config, write_data
from helpers.tiny import BACKBONE, perturb, tiny_vit
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors.torch import save_file
from torch import nn

from momo.engine.checkpoint import CheckpointError, load_weights, require_all_weights, write_weights
from momo.registry import MODELS

pytestmark = pytest.mark.usefixtures("unformatted_configs")
ROOT = Path(__file__).parents[2]
SUFFIXES = ["pth", pytest.param("safetensors")]
WEIGHTS = {"backbone.cls_token": torch.arange(4.0).view(1, 4), "backbone.norm.bias": torch.ones(4)}


class Canary:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def same(weights: dict) -> bool:
    return weights.keys() == WEIGHTS.keys() and all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(WEIGHTS, id="bare"),
        pytest.param({"state_dict": WEIGHTS, "meta": {"epoch": 3, "note": "x"}}, id="mmengine"),
        pytest.param({"model": WEIGHTS, "epoch": 3}, id="model"),
        pytest.param({"state_dict": {f"module.{name}": w for name, w in WEIGHTS.items()}}, id="data parallel"),
        pytest.param({"state_dict": {**WEIGHTS, "steps": 3}}, id="with a number"),
    ],
)
def test_reads_the_usual_forms(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert same(load_weights(tmp_path / "weights.pth"))


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert same(load_weights(str(tmp_path / "weights.safetensors")))


@pytest.mark.parametrize("place", ["beside the weights", "as the weights", "in a list"])
@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_files_are_refused_and_nothing_runs(tmp_path: Path, place: str, zipped: bool) -> None:
    canary = Canary(tmp_path / "canary")
    content = {
        "beside the weights": {"state_dict": WEIGHTS, "meta": canary},
        "as the weights": {"state_dict": canary},
        "in a list": [canary],
    }[place]
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"evil.pth cannot be read as plain weights"):
        load_weights(tmp_path / "evil.pth")
    assert not (tmp_path / "canary").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_plain_pickle_is_refused_whatever_it_is_called(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"evil.{suffix}"
    path.write_bytes(pickle.dumps({"state_dict": Canary(tmp_path / "canary")}))
    with pytest.raises(ValueError, match=rf"evil.{suffix} cannot be read as plain weights"):
        load_weights(path)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_broken_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(WEIGHTS, path)
    else:
        save_file(WEIGHTS, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"weights.{suffix} cannot be read as plain weights"):
            load_weights(path)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": {"a": 1}}, torch.ones(2), [1, 2]])
def test_files_without_weights_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="weights.pth holds no weights"):
        load_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("resume", [True, False])
def test_a_runner_refuses_hostile_checkpoints_too(tmp_path: Path, resume: bool) -> None:
    torch.save({"state_dict": WEIGHTS, "meta": Canary(tmp_path / "canary")}, tmp_path / "evil.pth")
    cfg = run_config(
        write_data(tmp_path / "data"), tmp_path / "run", resume=resume, load_from=str(tmp_path / "evil.pth")
    )
    message = "evil.pth is no checkpoint to resume from" if resume else "evil.pth cannot be read as plain weights"
    with pytest.raises(CheckpointError, match=message):
        build_runner(cfg).train()
    assert not (tmp_path / "canary").exists()


def test_mmengine_loads_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert same(CheckpointLoader.load_checkpoint(str(tmp_path / "weights.safetensors"))["state_dict"])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a backbone's weights."""
    model = tiny_vit()
    perturb(model)
    write_weights(tmp_path / "epoch_1", {f"backbone.{name}": value for name, value in model.state_dict().items()})
    return tmp_path / "epoch_1"


@pytest.mark.parametrize("inside", ["", "model.safetensors"])
def test_weights_load_where_an_openmmlab_user_expects(checkpoint: Path, inside: str) -> None:
    path, expected = str(checkpoint / inside), load_weights(checkpoint)
    pretrained = dict(type="Pretrained", checkpoint=path, prefix="backbone.")
    by_init_cfg = MODELS.build({**BACKBONE, "init_cfg": pretrained})
    by_init_cfg.init_weights()
    by_runner = nn.ModuleDict({"backbone": tiny_vit()})
    load_checkpoint(by_runner, path, strict=True)
    for name, value in expected.items():
        assert torch.equal(by_init_cfg.state_dict()[name.removeprefix("backbone.")], value), name
        assert torch.equal(by_runner.state_dict()[name], value), name


@pytest.mark.slow
def test_mmpretrain_loads_a_checkpoint(checkpoint: Path) -> None:
    from mmpretrain import get_model

    cfg = Config(dict(model=dict(type="ImageClassifier", backbone={**BACKBONE, "type": "momo.MoMoViT"})))
    model = get_model(cfg, pretrained=str(checkpoint))
    expected = load_weights(checkpoint)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_weights_of_a_checkpoint_are_compared_with_its_manifest(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for path in (checkpoint, file):
        with pytest.raises(CheckpointError, match="model.safetensors is damaged: sha256"):
            load_weights(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights.pth: there is no such file of weights"):
        load_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("address", ["s3://bucket/a.pth", "torchvision://resnet18", "open-mmlab://a"])
def test_schemes_that_unpickle_are_refused(address: str) -> None:
    with pytest.raises(CheckpointError, match="read from local files and https:// only; download it first"):
        CheckpointLoader.load_checkpoint(address)


def test_files_from_the_web_are_read_as_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def download(url: str, target: str) -> None:
        torch.save({"state_dict": WEIGHTS, "x": Canary(tmp_path / "canary") if "evil" in url else 0}, target)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert same(CheckpointLoader.load_checkpoint("https://example.org/good.pth?x=1")["state_dict"])
    with pytest.raises(CheckpointError, match="evil.pth cannot be read as plain weights"):
        CheckpointLoader.load_checkpoint("https://example.org/evil.pth")
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_the_converter_makes_a_checkpoint_and_runs_nothing(tmp_path: Path) -> None:
    def convert(name: str) -> subprocess.CompletedProcess:
        command = [sys.executable, ROOT / "tools/convert_checkpoint.py", tmp_path / name, tmp_path / "made"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    torch.save({"state_dict": WEIGHTS, "meta": Canary(tmp_path / "canary")}, tmp_path / "evil.pth")
    result = convert("evil.pth")
    assert result.returncode == 1 and "evil.pth cannot be read as plain weights" in result.stderr
    assert not (tmp_path / "canary").exists() and not (tmp_path / "made").exists()
    torch.save({"state_dict": WEIGHTS, "meta": {"epoch": 3}}, tmp_path / "good.pth")
    result = convert("good.pth")
    assert result.returncode == 0, result.stderr
    assert same(load_weights(tmp_path / "made"))
    assert "is there already" in convert("good.pth").stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights.pop("0.bias"), "0.bias: is missing"),
        (lambda weights: weights.update({"0.bias": torch.ones(5)}), "0.bias: has another shape"),
        (lambda weights: weights.update({"decoders.text": torch.ones(5)}), None),
    ],
)
def test_a_model_is_filled_whole_or_not_evaluated(tmp_path: Path, change, problem: str | None) -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    weights = dict(model.state_dict())
    change(weights)
    torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    if problem is None:
        require_all_weights(model, tmp_path / "weights.pth")
    else:
        with pytest.raises(ValueError, match=f"weights.pth does not fill(.|\n)*{problem}$"):
            require_all_weights(model, tmp_path / "weights.pth")
