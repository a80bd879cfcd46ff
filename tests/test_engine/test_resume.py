"""A run that was stopped and resumed is, bit for bit, the run that was not."""

from pathlib import Path

import pytest
import torch
from helpers.run import RecordSamples, build_runner, logged, run_config, same_tensors, stop_workers, weights, write_data
from mmengine.runner import Runner

from momo.engine.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("unformatted_configs")
CHECKPOINTS = ("epoch_2", "iter_7")  # at an epoch's end, and inside the second of 5 steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


def trained(cfg: dict) -> tuple[Runner, RecordSamples]:
    runner, record = build_runner(cfg), RecordSamples()
    runner.register_hook(record)
    runner.train()
    return runner, record


def config(data: dict, work_dir: Path, stage: int, checkpoint: str, **settings) -> dict:
    cfg = run_config(data, work_dir, stage, max_epochs=4, custom_hooks=[dict(type="EMAHook", momentum=0.1)], **settings)
    unit, number = checkpoint.split("_")
    cfg["default_hooks"]["checkpoint"].update(by_epoch=unit == "epoch", interval=int(number))
    return cfg


def optimizer_state(runner: Runner) -> list[torch.Tensor]:
    state = runner.optim_wrapper.optimizer.state_dict()["state"]
    return [torch.as_tensor(value) for entry in state.values() for value in entry.values()]


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_resumed_equals_uninterrupted_bitwise(data: dict, tmp_path: Path, checkpoint: str, stage: int) -> None:
    whole, all_samples = trained(config(data, tmp_path / "whole", stage, checkpoint))
    path = tmp_path / "whole" / checkpoint
    resumed, rest = trained(config(data, tmp_path / "again", stage, checkpoint, resume=True, load_from=str(path)))

    done = 20 - len(rest.ids)
    assert done == {"epoch_2": 10, "iter_7": 7}[checkpoint]
    assert rest.ids == all_samples.ids[done:]
    assert rest.keys == all_samples.keys[done:]
    assert same_tensors(weights(resumed), weights(whole))
    assert all(map(torch.equal, optimizer_state(resumed), optimizer_state(whole)))
    last = {"epoch_2": "epoch_4", "iter_7": "iter_20"}[checkpoint]
    first, second = (read_checkpoint(tmp_path / name / last) for name in ("whole", "again"))
    assert same_tensors(first["state_dict"], second["state_dict"])
    assert same_tensors(first["ema_state_dict"], second["ema_state_dict"])
    assert first["param_schedulers"] == second["param_schedulers"]

    def losses(folder: str) -> list[dict]:
        lines = logged(tmp_path / folder)
        return [{name: value for name, value in line.items() if "loss" in name or name == "lr"} for line in lines]

    assert losses("again") == losses("whole")[done:]


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_run_of_some_steps_resumes_within_its_short_last_epoch(data: dict, tmp_path: Path, checkpoint: str) -> None:
    """13 steps are two epochs of 5 and three steps more."""

    def cfg(name: str, **settings) -> dict:
        made = config(data, tmp_path / name, 2, checkpoint, **settings)
        made["train_cfg"] = dict(type="MultiModalTrainLoop", max_iters=13)
        return made

    whole, _ = trained(cfg("whole"))
    path = tmp_path / "whole" / checkpoint
    resumed, rest = trained(cfg("again", resume=True, load_from=str(path)))
    assert len(rest.ids) == {"epoch_2": 3, "iter_7": 6}[checkpoint]
    assert same_tensors(weights(resumed), weights(whole))
    last = tmp_path / "again" / {"epoch_2": "epoch_3", "iter_7": "iter_13"}[checkpoint]
    ended, nothing = trained(cfg("ended", resume=True, load_from=str(last)))  # nothing is left to do
    assert nothing.ids == []
    assert same_tensors(weights(ended), weights(whole))


def test_a_checkpoint_is_plain(data: dict, tmp_path: Path) -> None:
    """Weights, optimizer, schedulers, average and log history, all readable without running code."""
    runner, _ = trained(config(data, tmp_path, 2, "epoch_4"))
    content = read_checkpoint(tmp_path / "epoch_4")
    assert set(content["state_dict"]) == set(runner.model.state_dict())
    assert {"optimizer", "param_schedulers", "ema_state_dict", "message_hub", "meta"} <= set(content)


def test_a_resumed_run_keeps_its_log_history(data: dict, tmp_path: Path) -> None:
    whole, _ = trained(config(data, tmp_path / "whole", 2, "epoch_2"))
    path = tmp_path / "whole" / "epoch_2"
    resumed, _ = trained(config(data, tmp_path / "again", 2, "epoch_2", resume=True, load_from=str(path)))
    for name in ("train/loss", "train/text/mlm_loss_words"):
        first, second = (runner.message_hub.get_scalar(name) for runner in (whole, resumed))
        assert first.data[0].tolist() == second.data[0].tolist()
        assert len(second.data[0]) == 20


def test_a_resumed_run_takes_the_seed_it_began_with(data: dict, tmp_path: Path) -> None:
    whole, _ = trained(config(data, tmp_path / "whole", 2, "epoch_2"))
    path = tmp_path / "whole" / "epoch_2"
    cfg = config(data, tmp_path / "again", 2, "epoch_2", resume=True, load_from=str(path))
    cfg["randomness"] = dict(seed=99)
    resumed, _ = trained(cfg)
    stop_workers(resumed)
    assert same_tensors(weights(resumed), weights(whole))


def test_workers_change_nothing_in_a_resumed_run(data: dict, tmp_path: Path) -> None:
    whole, _ = trained(config(data, tmp_path / "whole", 2, "iter_7"))
    path = tmp_path / "whole" / "iter_7"
    cfg = config(data, tmp_path / "again", 2, "iter_7", resume=True, load_from=str(path))
    cfg["train_dataloader"]["num_workers"] = 2
    resumed, _ = trained(cfg)
    stop_workers(resumed)
    assert same_tensors(weights(resumed), weights(whole))


def test_an_epoch_of_another_length_is_refused(data: dict, tmp_path: Path) -> None:
    trained(config(data, tmp_path, 2, "epoch_2"))
    cfg = config(data, tmp_path, 2, "epoch_2", resume=True, load_from=str(tmp_path / "epoch_2"))
    for loader in cfg["train_dataloader"]["loaders"].values():
        loader["batch_size"] = 1
    with pytest.raises(
        ValueError,
        match=r"at epoch 2, step 10 of .*'global batch': 4.*, but now an epoch has 20 steps of .*'global batch': 1",
    ):
        trained(cfg)
