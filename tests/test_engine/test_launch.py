"""What the command-line tools do before they have a runner."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from momo.engine import launch
from momo.engine.config_check import ConfigError
from momo.engine.launch import one_run_in, was_restarted
from momo.stack import check_stack

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = "mmengine"
model = dict(type="ToyModel", width=3)
custom_imports = dict(imports=["launch_test_toy"])
def _helper(): ...
"""
TOY = """
from mmengine.registry import MODELS
@MODELS.register_module(force=True)
class ToyModel:
    def __init__(self, width: int): ...
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    (tmp_path / "launch_test_toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "my toy.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize(
    ("path", "work_dir"),
    [
        ("configs/momo/stage2_vitb.py", "work_dirs/stage2_vitb"),
        ("configs/demo/stage3.py", "work_dirs/demo/stage3"),
        ("configs/stage3.py", "work_dirs/stage3"),
        ("projects/configs/new/configs/a/b.py", "work_dirs/a/b"),
        ("elsewhere/mine.v2.py", "work_dirs/mine.v2"),
    ],
)
def test_default_work_dir(path, work_dir):
    assert launch.default_work_dir(path) == work_dir
    assert launch.default_work_dir(f"/some where/{path}") == work_dir


def test_load_config(config):
    cfg = launch.load_config(config, {"model.width": 4}, launcher="none")
    assert (cfg.model.width, cfg.work_dir, cfg.launcher) == (4, "work_dirs/my toy", "none")
    assert Config.fromstring(cfg.pretty_text, ".py").model.width == 4  # MMEngine saves it so, and knows no functions
    assert launch.load_config(config, {"work_dir": "a"}).work_dir == "a"
    assert launch.load_config(config, {"work_dir": "a"}, work_dir="b").work_dir == "b"


def test_load_config_refuses(config):
    with pytest.raises(FileNotFoundError, match="nowhere.py: there is no such config file"):
        launch.load_config("nowhere.py", {})
    with pytest.raises(ConfigError, match=r"model.widht: .* did you mean 'width'\? \(from --cfg-options\)"):
        launch.load_config(config, {"model.widht": 4})
    with pytest.raises(ConfigError, match="--cfg-options model.width.x do not fit the config"):
        launch.load_config(config, {"model.width.x": 4})


def test_config_without_test_settings(config):
    with pytest.raises(ConfigError, match="my toy.py has no test_dataloader, test_cfg and test_evaluator"):
        launch.require_test(launch.load_config(config, {}))


def test_amp_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--amp needs a GPU"):
        launch.enable_amp(Config(dict(optim_wrapper=dict(optimizer=dict(type="SGD")))))


@pytest.mark.parametrize(
    ("bf16", "own", "expected"),
    [
        (True, {}, ("bfloat16", 1.0)),
        (False, {}, ("float16", "dynamic")),
        (True, dict(dtype="float16"), ("float16", "dynamic")),
    ],
)
def test_amp(monkeypatch, bf16, own, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type="SGD"), **own)))
    launch.enable_amp(cfg)
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == expected


@pytest.mark.parametrize(
    ("settings", "find_unused"),
    [
        (dict(train_cfg=dict(max_epochs=1)), False),
        (dict(train_cfg=dict(cmga="joint")), False),
        (dict(train_cfg=dict(cmga="sequential")), True),
        (dict(train_cfg=dict(cmga="off")), True),
        (dict(train_cfg=dict(cmga="joint"), find_unused_parameters=True), True),
        (dict(train_cfg=None), False),
    ],
)
def test_model_wrapper(monkeypatch, settings, find_unused):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    cfg = Config(dict(launcher="pytorch", **settings))
    launch.set_up_distributed(cfg)
    assert cfg.model_wrapper_cfg == dict(type="momo.MoMoDistributedDataParallel", find_unused_parameters=find_unused)


def test_model_wrapper_of_the_config_stays(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    cfg = Config(dict(launcher="pytorch", model_wrapper_cfg=dict(static_graph=True)))
    launch.set_up_distributed(cfg)
    assert cfg.model_wrapper_cfg == dict(static_graph=True)
    cfg = Config(dict(launcher="none"))
    launch.set_up_distributed(cfg)
    assert "model_wrapper_cfg" not in cfg


def test_slurm_outside_of_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ValueError, match="--launcher slurm needs SLURM_PROCID"):
        launch.set_up_distributed(Config(dict(launcher="slurm")))


def test_two_families_of_packages_are_refused(monkeypatch):
    versions = {"onedl-mmengine": "0.10.12", "mmengine": "0.10.7", "onedl-mmcv": "2.3.6"}

    def version(package):
        if package not in versions:
            raise metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ImportError, match="(?s)mmengine 0.10.7 beside onedl-mmengine: .*pip uninstall -y mmengine\n"):
        check_stack()
    del versions["mmengine"]
    check_stack()


TRAIN = """
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from momo.engine.launch import set_up_distributed

@DATASETS.register_module()
class Numbers(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): return torch.tensor([float(index)])

@MODELS.register_module()
class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
    def forward(self, inputs, mode): return dict(loss=(self.weight * torch.stack(inputs)).mean())

class Wrapped(Line):
    def forward(self, *inputs, mode): return super().forward(inputs, mode)

MODELS.register_module(module=Wrapped)
cfg = Config(dict(
    default_scope="mmengine", launcher="pytorch", work_dir={work_dir!r}, model=dict(type="Wrapped"),
    train_dataloader=dict(
        batch_size=4, dataset=dict(type="Numbers"), sampler=dict(type="DefaultSampler", shuffle=False)
    ),
    train_cfg=dict(by_epoch=True, max_epochs=1), optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0)),
    default_hooks=dict(checkpoint=None), env_cfg=dict(dist_cfg=dict(backend="nccl", timeout=60)),
))
set_up_distributed(cfg)
runner = Runner.from_cfg(cfg)
runner.train()
print("rank", runner.rank, type(runner.model).__name__, float(runner.model.module.weight))
"""


@pytest.mark.dist
def test_two_processes_on_a_cpu_train_one_model(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN.format(work_dir=str(tmp_path / "work")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    # one step of SGD on the mean of 0..7
    lines = [line for line in result.stdout.splitlines() if line.startswith("rank")]
    assert sorted(lines) == [f"rank {rank} MoMoDistributedDataParallel -3.5" for rank in (0, 1)], result.stderr


def test_metrics_are_written_once_as_json(tmp_path, monkeypatch):
    launch.write_metrics(None, {"accuracy": 0.5})
    launch.write_metrics(tmp_path / "a" / "out.json", {"accuracy": np.float32(0.5), "tr@1": torch.tensor(0.25)})
    assert json.loads((tmp_path / "a" / "out.json").read_text()) == {"accuracy": 0.5, "tr@1": 0.25}
    monkeypatch.setattr(launch, "rank", lambda: 1)
    launch.write_metrics(tmp_path / "other.json", {"accuracy": 0.5})
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize("name", ["SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"])
def test_a_restart_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not was_restarted()
    monkeypatch.setenv(name, "0")
    assert not was_restarted()
    monkeypatch.setenv(name, "1")
    assert was_restarted()


@pytest.mark.parametrize(("variable", "value", "locks"), [("RANK", "0", True), ("RANK", "1", False), ("X", "1", True)])
def test_the_first_process_locks_the_work_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, locks: bool
) -> None:
    monkeypatch.setenv(variable, value)
    with one_run_in(str(tmp_path)):
        assert (tmp_path / ".lock").exists() is locks


def test_what_mim_adds_to_the_command_is_taken() -> None:
    """torch.distributed.launch, by which mim starts several processes, passes the rank as an argument too."""
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    assert parser.parse_args(["--local-rank=1", "--launcher", "pytorch"]).launcher == "pytorch"
