"""Reading weights from files that may be broken, or hostile."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.run import build_runner, run_config, write_data
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file
from torch import nn

from momo.engine import PlainCheckpointHook
from momo.engine.checkpoint import find_checkpoint, load_weights, require_all_weights

pytestmark = pytest.mark.usefixtures("unformatted_configs")
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
    with pytest.raises(ValueError, match=r"evil.pth"):
        build_runner(cfg).train()
    assert not (tmp_path / "canary").exists()


def test_find_checkpoint(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert find_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/epoch_2.pth\n")
    assert find_checkpoint(tmp_path) is None  # pruned, or never copied
    (tmp_path / "epoch_2.pth").write_bytes(b"")
    assert find_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"  # the folder was moved
    assert find_checkpoint(tmp_path / "epoch_2.pth") == tmp_path / "epoch_2.pth"
    other = tmp_path / "other" / "iter_5.pth"
    other.parent.mkdir()
    other.write_bytes(b"")
    (tmp_path / "last_checkpoint").write_text(str(other))
    assert find_checkpoint(tmp_path) == other


def test_numbers_of_numpy_do_not_stand_in_the_way(tmp_path: Path) -> None:
    buffer = HistoryBuffer([0.5, 0.25], [1, 2], max_length=10)
    checkpoint = {"message_hub": {"log_scalars": {"loss": buffer}, "runtime_info": {"lr": np.float64(0.1), "epoch": 2}}}
    hook = PlainCheckpointHook()
    hook.before_save_checkpoint(SimpleNamespace(), checkpoint)
    torch.save(checkpoint, tmp_path / "run.pth")
    again = torch.load(tmp_path / "run.pth", weights_only=True)
    assert again["message_hub"]["runtime_info"] == {"lr": 0.1, "epoch": 2}
    hook.after_load_checkpoint(SimpleNamespace(), again)
    restored = again["message_hub"]["log_scalars"]["loss"]
    assert isinstance(restored, HistoryBuffer)
    assert [column.tolist() for column in restored.data] == [[0.5, 0.25], [1, 2]]
    assert restored.max_length == 10 and restored.mean(2) == buffer.mean(2)


def test_mmengine_loads_safetensors(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert same(CheckpointLoader.load_checkpoint(str(tmp_path / "weights.safetensors")))


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
