"""Training through MMEngine's runner, on generated data."""

import math
from itertools import islice
from pathlib import Path
from unittest import mock

import pytest
import torch
from helpers.run import RecordSamples, build_runner, logged, run_config, same_tensors, stop_workers, weights, write_data
from mmengine.optim import OptimWrapper

from momo.datasets import GlobalBatchSampler
from momo.engine.checkpoint import read_checkpoint
from momo.engine.loaders import MultiModalLoader

pytestmark = pytest.mark.usefixtures("unformatted_configs")
LOSSES = {
    2: ["image/mim_loss_pixels", "text/mlm_loss_words"],
    3: ["text/mlm_loss_words", *(f"image_text/{name}" for name in ("cmm_loss_pixels", "cmm_loss_words", "itc_loss"))],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("stage", [2, 3])
def test_two_epochs_log_every_loss_and_change_every_weight(data: dict, tmp_path: Path, stage: int) -> None:
    runner = build_runner(run_config(data, tmp_path, stage))
    before = weights(runner)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 10)
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, 11))
    for line in lines:
        total = sum(value for name, value in line.items() if "/" in name and "loss" in name)
        assert all(name in line for name in LOSSES[stage])
        assert line["loss"] == pytest.approx(total, rel=1e-4)
    unchanged = [name for name, value in weights(runner).items() if torch.equal(value, before[name])]
    assert unchanged == []


def test_learning_rate_warms_up_and_ends_at_zero(data: dict, tmp_path: Path) -> None:
    build_runner(run_config(data, tmp_path)).train()
    rates = [line["lr"] for line in logged(tmp_path)]
    assert rates[:2] == pytest.approx([1e-4, 1e-3])  # 0.4 epochs of 5 steps are 2 steps of warm-up
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert 0 < rates[-1] < 1e-4


def test_the_secondary_loader_keeps_its_place_across_epochs(data: dict, tmp_path: Path) -> None:
    """5 steps an epoch by texts; the 12 images take 3 steps, and go on where they were."""
    runner = build_runner(run_config(data, tmp_path))
    record = RecordSamples()
    runner.register_hook(record)
    runner.train()
    for modality, size in (("image", 12), ("text", 20)):
        dataset = runner.train_loop.dataloader.loaders[modality].dataset
        assert len(dataset) == size
        sampler = GlobalBatchSampler(size, 4, seed=3)
        expected = [{dataset.read(key.index)["sample_id"] for key in batch} for batch in islice(sampler, 10)]
        assert [set(step[modality]) for step in record.ids] == expected
        in_an_epoch = size // 4
        for start in range(0, 10 - in_an_epoch + 1, in_an_epoch):
            seen = [name for step in record.ids[start : start + in_an_epoch] for name in step[modality]]
            assert len(set(seen)) == size
    keys = [key for step in record.keys for key in step["image"]]
    assert len(set(keys)) == len(keys)  # no augmentation and no mask is drawn twice


@pytest.mark.parametrize(("steps", "epochs"), [(7, 2), (10, 2), (3, 1)])
def test_training_by_steps_ends_within_an_epoch(data: dict, tmp_path: Path, steps: int, epochs: int) -> None:
    """The schedule that counts steps ends with it, the checkpoint is an epoch's, the samples are as in whole epochs."""
    cfg = run_config(data, tmp_path)
    cfg["train_cfg"] = dict(type="MultiModalTrainLoop", max_iters=steps)
    cfg["param_scheduler"] = [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=2),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=2),
    ]
    runner, record = build_runner(cfg), RecordSamples()
    runner.register_hook(record)
    runner.train()
    assert (runner.epoch, runner.iter, runner.max_epochs, runner.max_iters) == (epochs, steps, epochs, steps)
    assert (tmp_path / "last_checkpoint").read_text().endswith(f"epoch_{epochs}")
    rates = [line["lr"] for line in logged(tmp_path)]
    cosine = [0.5e-3 * (1 + math.cos(math.pi * step / (steps - 2))) for step in range(steps - 2)]
    assert rates == pytest.approx([1e-4, 1e-3, *cosine])
    sampler = GlobalBatchSampler(20, 4, seed=3)
    dataset = runner.train_loop.dataloader.dataset
    expected = [{dataset.read(key.index)["sample_id"] for key in batch} for batch in islice(sampler, steps)]
    assert [set(step["text"]) for step in record.ids] == expected


@pytest.mark.parametrize("lengths", [dict(), dict(max_epochs=1, max_iters=1), dict(max_iters=0)])
def test_refuses_anything_but_one_length_of_training(data: dict, tmp_path: Path, lengths: dict) -> None:
    cfg = run_config(data, tmp_path)
    cfg["train_cfg"] = dict(type="MultiModalTrainLoop", **lengths)
    with pytest.raises(ValueError, match=r"train_cfg has max_epochs=\w+ and max_iters=\w+: give one of the two"):
        build_runner(cfg).train()


@pytest.mark.parametrize(("cmga", "steps"), [("joint", 10), ("sequential", 10), ("off", 20)])
def test_number_of_updates_and_of_clips(data: dict, tmp_path: Path, cmga: str, steps: int) -> None:
    cfg = run_config(data, tmp_path)
    cfg["train_cfg"]["cmga"] = cmga
    cfg["optim_wrapper"]["clip_grad"] = dict(max_norm=0.01)
    runner = build_runner(cfg)
    with mock.patch.object(OptimWrapper, "_clip_grad", autospec=True, side_effect=OptimWrapper._clip_grad) as clip:
        runner.train()
    shared = runner.optim_wrapper.optimizer.state[runner.model.backbone.cls_token]
    assert int(shared["step"]) == steps
    assert clip.call_count == steps
    assert runner.iter == 10
    assert all("grad_norm" in line for line in logged(tmp_path))


def test_sequential_training_ends_where_joint_training_does(data: dict, tmp_path: Path) -> None:
    final = {}
    for cmga in ("joint", "sequential", "off"):
        cfg = run_config(data, tmp_path / cmga, max_epochs=1)
        cfg["train_cfg"]["cmga"] = cmga
        cfg["model"]["backbone"]["drop_path_rate"] = 0.0  # joint draws for all sequences at once
        cfg["optim_wrapper"] = dict(optimizer=dict(type="SGD", lr=0.1))  # Adam would enlarge rounding errors
        runner = build_runner(cfg)
        runner.train()
        final[cmga] = weights(runner)
    for name, value in final["joint"].items():
        torch.testing.assert_close(final["sequential"][name], value, rtol=1e-4, atol=1e-6)
    assert not same_tensors(final["off"], final["joint"])
    assert max((final["off"][name] - value).abs().max() for name, value in final["joint"].items()) > 1e-3


def test_exponential_moving_average(data: dict, tmp_path: Path) -> None:
    """MMEngine's hook follows the weights: after n steps at momentum 0.5, from the first on."""
    cfg = run_config(data, tmp_path, max_epochs=1, custom_hooks=[dict(type="EMAHook", momentum=0.5)])
    runner = build_runner(cfg)
    seen = []
    original = OptimWrapper.update_params
    with mock.patch.object(
        OptimWrapper,
        "update_params",
        autospec=True,
        side_effect=lambda *args, **kwargs: (original(*args, **kwargs), seen.append(weights(runner)))[0],
    ):
        runner.train()
    expected = seen[0]
    for step in seen[1:]:
        expected = {name: (value + expected[name]) / 2 for name, value in step.items()}
    saved = read_checkpoint(tmp_path / "epoch_1")
    for name, value in expected.items():  # MMEngine saves the average as the weights
        torch.testing.assert_close(saved["state_dict"][name], value, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(saved["ema_state_dict"][f"module.{name}"], seen[-1][name])


@pytest.mark.parametrize(("enable", "factor"), [(True, 4 / 16), (False, 1)])
def test_auto_scale_lr(data: dict, tmp_path: Path, enable: bool, factor: float) -> None:
    settings = dict(auto_scale_lr=dict(enable=enable, base_batch_size=16))
    cfg = run_config(data, tmp_path, max_epochs=1, **settings)
    cfg["param_scheduler"] = None
    build_runner(cfg).train()
    assert [line["lr"] for line in logged(tmp_path)] == pytest.approx([1e-3 * factor] * 5)


def test_workers_change_nothing(data: dict, tmp_path: Path) -> None:
    final = []
    for workers in (0, 2):
        cfg = run_config(data, tmp_path / str(workers), max_epochs=1)
        cfg["train_dataloader"]["num_workers"] = workers
        runner = build_runner(cfg)
        runner.train()
        final.append(weights(runner))
        stop_workers(runner)
    assert same_tensors(*final)


def test_settings_of_one_loader_win_over_those_of_all(data: dict, tmp_path: Path) -> None:
    cfg = run_config(data, tmp_path, max_epochs=1)
    cfg["train_dataloader"]["loaders"]["image"]["batch_size"] = 3
    runner = build_runner(cfg)
    record = RecordSamples()
    runner.register_hook(record)
    runner.train()
    assert [(len(step["image"]), len(step["text"])) for step in record.ids] == [(3, 4)] * 5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("train_cfg", "cmga"), "both", r"train_cfg.cmga='both' is unknown; choose one of \('joint', 'sequential'"),
        (("train_dataloader", "primary"), "sound", r"primary='sound' is not one of the loaders \['image', 'text'\]"),
    ],
)
def test_refuses_settings_that_cannot_work(data: dict, tmp_path: Path, path: tuple, value: str, message: str) -> None:
    cfg = run_config(data, tmp_path)
    cfg[path[0]][path[1]] = value
    with pytest.raises(ValueError, match=message):
        build_runner(cfg).train()


def test_refuses_modalities_without_loader_or_without_objective(data: dict, tmp_path: Path) -> None:
    cfg = run_config(data, tmp_path)
    del cfg["train_dataloader"]["loaders"]["image"]
    message = r"train_dataloader.loaders are for \['text'\], but model.objectives for \['image', 'text'\]"
    with pytest.raises(ValueError, match=message):
        build_runner(cfg).train()
    cfg = run_config(data, tmp_path / "other", stage=1, primary="image")
    cfg["train_dataloader"]["loaders"]["text"] = dict(dataset=data["text"])
    message = r"train_dataloader.loaders are for \['image', 'text'\], but model.objectives for \['image'\]"
    with pytest.raises(ValueError, match=message):
        build_runner(cfg).train()


def test_a_loader_has_what_hooks_read(data: dict, tmp_path: Path) -> None:
    runner = build_runner(run_config(data, tmp_path, max_epochs=1))
    runner.train()
    loader = runner.train_loop.dataloader
    assert isinstance(loader, MultiModalLoader)
    assert (len(loader), loader.batch_size, loader.primary) == (5, 4, "text")
    assert loader.dataset is loader.loaders["text"].dataset
    assert runner.visualizer.dataset_meta == {"dataset": "TextCorpus"}
