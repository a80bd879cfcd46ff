"""Saving beside training, and what a run goes on from."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.run import build_runner, run_config, same_tensors, weights, write_data
from mmengine.config import Config
from torch import nn

from momo.engine import MoMoCheckpointHook
from momo.engine.checkpoint import CheckpointError, hook, read_checkpoint, verify, write_weights
from momo.engine.checkpoint.order import parameter_order, reorder
from momo.engine.checkpoint.snapshot import HostCopy
from momo.engine.checkpoint.work_dir import current_run
from momo.engine.run_lock import RunLock, WorkDirInUse

pytestmark = pytest.mark.usefixtures("unformatted_configs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


def config(data: dict, work_dir: Path, steps: int = 7, **settings) -> dict:
    cfg = run_config(data, work_dir, **settings)
    cfg["train_cfg"] = dict(type="MultiModalTrainLoop", max_iters=steps)
    cfg["default_hooks"]["checkpoint"] = dict(type="MoMoCheckpointHook", by_epoch=False, interval=2, max_keep_ckpts=2)
    return cfg


def folders(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.iterdir() if path.name.startswith(("iter", "epoch")))


def test_the_newest_are_kept_and_the_end_is_saved(data: dict, tmp_path: Path) -> None:
    runner = build_runner(config(data, tmp_path))
    runner.train()
    assert folders(tmp_path) == ["iter_6", "iter_7"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_7")
    manifest = verify(tmp_path / "iter_7")
    assert (manifest.step, manifest.epoch, manifest.world_size) == (7, 1, 1)
    assert manifest.run == current_run(tmp_path).id
    assert same_tensors(read_checkpoint(tmp_path / "iter_7")["state_dict"], weights(runner))


def test_a_checkpoint_is_of_its_step_though_training_goes_on(data: dict, tmp_path: Path, monkeypatch) -> None:
    """The thread is held up until the next step is over: what it writes was copied before."""
    build_runner(config(data, tmp_path / "soon", steps=3)).train()
    over, write = threading.Event(), hook.write_checkpoint

    def late(*args: object) -> None:
        over.wait()
        write(*args)

    monkeypatch.setattr(hook, "write_checkpoint", late)
    runner = build_runner(config(data, tmp_path / "late", steps=3))
    saver = next(hook for hook in runner.hooks if isinstance(hook, MoMoCheckpointHook))
    monkeypatch.setattr(saver._task, "check", lambda: over.set() if runner.iter == 2 else None)
    runner.train()
    soon, late_one, end = (
        read_checkpoint(tmp_path / name)["state_dict"] for name in ("soon/iter_2", "late/iter_2", "late/iter_3")
    )
    assert same_tensors(soon, late_one) and not same_tensors(late_one, end)


def test_a_failed_save_fails_the_next_step(data: dict, tmp_path: Path, monkeypatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(hook, "write_checkpoint", fail)
    runner = build_runner(config(data, tmp_path))
    waiting = runner.model.forward

    def slow(*args: object, **kwargs: object) -> object:
        time.sleep(0.05)
        return waiting(*args, **kwargs)

    monkeypatch.setattr(runner.model, "forward", slow)
    with pytest.raises(OSError, match="the disk is gone"):
        runner.train()
    assert runner.iter == 2  # the third step: the save was begun after the second


def test_a_failed_last_save_fails_the_run(data: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(hook, "verify", lambda folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_runner(config(data, tmp_path, steps=2)).train()


def test_resume_goes_on_from_the_newest_whole_one(data: dict, tmp_path: Path) -> None:
    runner = build_runner(config(data, tmp_path))
    runner.train()
    expected = weights(runner)
    (tmp_path / "iter_7" / "model.safetensors").write_bytes(b"")
    (tmp_path / "last_checkpoint").write_text("nonsense")
    (tmp_path / ".saving-iter_8").mkdir()
    resumed = build_runner({**config(data, tmp_path, resume=True), "log_level": "WARNING"})
    resumed.train()
    assert same_tensors(weights(resumed), expected)
    log = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert folders(tmp_path) == ["iter_6", "iter_7", "iter_7.damaged"]
    assert not (tmp_path / ".saving-iter_8").exists()
    assert "iter_7/model.safetensors is damaged" in log and ".saving-iter_8" in log


def test_resume_begins_anew_where_there_is_nothing(data: dict, tmp_path: Path) -> None:
    runner = build_runner(config(data, tmp_path, steps=2, resume=True))
    runner.train()
    assert folders(tmp_path) == ["iter_2"]


def test_a_fresh_run_is_not_resumed_from_an_earlier_ones_checkpoints(data: dict, tmp_path: Path) -> None:
    build_runner(config(data, tmp_path)).train()
    first = current_run(tmp_path)
    build_runner(config(data, tmp_path, steps=2)).train()
    assert current_run(tmp_path) != first
    resumed = build_runner(config(data, tmp_path, steps=3, resume=True))
    resumed.train()
    assert resumed.iter == 3
    assert verify(tmp_path / "iter_3").run == current_run(tmp_path).id


def test_a_run_resumed_from_elsewhere_remembers_it_until_it_has_its_own(data: dict, tmp_path: Path) -> None:
    build_runner(config(data, tmp_path / "a")).train()
    source = tmp_path / "a" / "iter_6"
    interrupted = build_runner(config(data, tmp_path / "b", resume=True, load_from=str(source)))
    interrupted.train_loop.run = lambda: None  # killed before its first step
    interrupted.train()
    resumed = build_runner(config(data, tmp_path / "b", resume=True))
    resumed.train()
    assert folders(tmp_path / "b") == ["iter_7"]
    expected = read_checkpoint(tmp_path / "a" / "iter_7")["state_dict"]
    assert same_tensors(weights(resumed), expected)


@pytest.mark.parametrize("kind", ["weights", "file", "nothing"])
def test_weights_alone_are_no_checkpoint_to_resume_from(data: dict, tmp_path: Path, kind: str) -> None:
    write_weights(tmp_path / "epoch_1", {"w": torch.ones(1)})
    path = {"weights": "epoch_1", "file": "epoch_1/model.safetensors", "nothing": "x"}[kind]
    cfg = config(data, tmp_path / "run", resume=True, load_from=str(tmp_path / path))
    with pytest.raises(CheckpointError, match="no checkpoint to resume from|has no state.safetensors"):
        build_runner(cfg).train()


def test_a_test_after_training_begins_no_run(data: dict, tmp_path: Path) -> None:
    cfg = config(data, tmp_path, steps=2)
    cfg |= dict(
        test_dataloader=dict(batch_size=4, loaders=dict(text=dict(dataset=data["text"]))),
        test_cfg=dict(type="MultiModalTestLoop"),
        test_evaluator=dict(type="MeanLoss"),
    )
    runner = build_runner(cfg)
    runner.train()
    before = current_run(tmp_path)
    runner.test()
    assert current_run(tmp_path) == before and (tmp_path / "last_checkpoint").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_one_checkpoint_is_too_few(number: int) -> None:
    with pytest.raises(ValueError, match=f"max_keep_ckpts={number}: keep at least 2"):
        MoMoCheckpointHook(max_keep_ckpts=number)


def test_a_sorted_config_does_not_mix_up_the_optimizer(data: dict, tmp_path: Path) -> None:
    """As MMEngine writes it into the work_dir: the decoders, of equal shapes, change places."""
    cfg = config(data, tmp_path, steps=4)
    cfg["model"]["decoders"] = dict(reversed(sorted(cfg["model"]["decoders"].items())))
    first = build_runner(cfg)
    first.train()
    cfg = config(data, tmp_path, steps=4, resume=True)
    cfg["model"]["decoders"] = dict(sorted(cfg["model"]["decoders"].items()))
    second = build_runner(Config(cfg))
    second.train()

    def moments(runner) -> dict:
        state, names = runner.optim_wrapper.optimizer.state, dict(runner.model.named_parameters())
        return {name: state[parameter]["exp_avg"] for name, parameter in names.items()}

    assert list(moments(first)) != list(moments(second))
    assert same_tensors(moments(first), moments(second))


def test_other_parameters_are_refused() -> None:
    state = {"state": {0: "a", 1: "b"}, "param_groups": []}
    assert reorder(state, [["x", "y"]], [["y", "x"]])["state"] == {0: "b", 1: "a"}
    with pytest.raises(
        CheckpointError, match=r"groups of \[2\] parameters, this one of \[2\]; not in both: \['y', 'z'\]"
    ):
        reorder(state, [["x", "y"]], [["x", "z"]])
    with pytest.raises(CheckpointError, match="they are grouped otherwise"):
        reorder(state, [["x", "y"]], [["x"], ["y"]])


def test_several_optimizers_have_no_one_order() -> None:
    assert parameter_order(SimpleNamespace(optim_wrapper=object(), model=nn.Linear(1, 1))) is None


def test_host_memory_is_claimed_once() -> None:
    copy, value = HostCopy(), torch.arange(3.0)
    first = copy({"a": value, "b": value.view(3, 1).T})
    value.add_(1)
    assert first["a"].tolist() == first["b"].flatten().tolist() == [0, 1, 2]
    place = first["a"].data_ptr()
    second = copy({"a": value, "c": torch.ones(2)})
    assert second["a"].data_ptr() == place and second["a"].tolist() == [1, 2, 3]
    assert set(second) == {"a", "c"}
    assert copy({"a": torch.ones(5)})["a"].tolist() == [1] * 5  # another shape


def test_host_memory_can_be_claimed_before_it_is_needed() -> None:
    copy, value = HostCopy(), torch.arange(3.0)
    copy.claim({"a": value})
    place = copy._buffers["a"].data_ptr()
    assert copy({"a": value})["a"].data_ptr() == place and value.tolist() == [0, 1, 2]


def test_the_work_dir_is_locked_while_training(data: dict, tmp_path: Path, monkeypatch) -> None:
    runner = build_runner(config(data, tmp_path, steps=2))
    with RunLock(tmp_path):
        runner.train()  # a process may take its own lock again
    from momo.engine import run_lock

    monkeypatch.setattr(run_lock, "_is_elsewhere", lambda note: True)
    with pytest.raises(WorkDirInUse):
        build_runner(config(data, tmp_path, steps=2)).train()
