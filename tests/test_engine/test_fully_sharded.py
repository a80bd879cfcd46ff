"""Sharded over two processes, a model trains as under DistributedDataParallel, and its checkpoints are whole."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from helpers.processes import run_in_processes
from helpers.run import build_runner, logged, run_config, same_tensors, write_data
from helpers.tiny import preprocessed, tiny_batches, tiny_pretrainer, update_gradients
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import nn
from torch.distributed.tensor import DTensor

from momo.apis import get_model
from momo.engine import MoMoCheckpointHook, MoMoDistributedDataParallel, MoMoFullyShardedDataParallel, StageHook
from momo.engine.checkpoint import load_weights, read_checkpoint
from momo.engine.checkpoint.order import shard
from momo.engine.fully_sharded import whole_weights
from momo.engine.shards import own_part, sharded_as, whole
from momo.models import MoMoPretrainer
from momo.models.downstream import image_features
from momo.ops import rank

CASES = [(stage, cmga, {}) for stage in (1, 2, 3) for cmga in ("joint", "sequential", "off")]
CASES.append((3, "joint", dict(with_cp=True)))
names_of_cases = [f"stage{stage}-{cmga}{'-with_cp' if backbone else ''}" for stage, cmga, backbone in CASES]


def model_of(stage: int, seed: int = 0, **backbone) -> MoMoPretrainer:
    return tiny_pretrainer(stage, seed, **backbone, **(dict(vocab_size=0) if stage == 1 else {}))


def whole_state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: whole(value).clone() for name, value in model.state_dict().items()}


# ------------------------------------------------------------------ gradients
def gradients_of_both(rank: int) -> list[tuple[list[dict], list[dict]]]:
    """By case: the gradients of each optimizer step under DistributedDataParallel, and sharded."""
    results = []
    for stage, cmga, backbone in CASES:
        model, sharded = (model_of(stage, **backbone).double() for _ in range(2))
        batches = tiny_batches(model, 4, start=10 * rank)
        wrapped = MoMoDistributedDataParallel(model, find_unused_parameters=cmga != "joint")
        expected, _ = update_gradients(wrapped, batches, cmga)
        found, _ = update_gradients(MoMoFullyShardedDataParallel(sharded), batches, cmga)
        results.append((expected, [{name: whole(value) for name, value in step.items()} for step in found]))
    return results


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[list]:
    return run_in_processes(gradients_of_both, tmp_path_factory.mktemp("gradients"))


@pytest.mark.dist
@pytest.mark.parametrize("case", range(len(CASES)), ids=names_of_cases)
def test_gradients_are_those_of_ddp(gradients: list[list], case: int) -> None:
    for of_rank in gradients:
        expected, found = of_rank[case]
        assert len(found) == len(expected) > 0
        for step, wanted in zip(found, expected, strict=True):
            largest = max(gradient.abs().max() for gradient in wanted.values())
            assert step.keys() == wanted.keys() and largest > 0
            for name, gradient in wanted.items():
                close = dict(rtol=1e-9, atol=1e-11 * largest, msg=lambda text, name=name: f"{name}: {text}")
                torch.testing.assert_close(step[name], gradient, **close)


# ------------------------------------------------------------------ one process's part
def is_sharded(model: nn.Module) -> bool:
    return all(isinstance(parameter, DTensor) for parameter in model.parameters() if parameter.ndim)


def parts(rank: int, folder: Path) -> dict:
    """What a process holds, what it loads and computes, and what it refuses."""
    previous, plain = model_of(2, seed=1), model_of(3, seed=2)
    torch.save({"state_dict": previous.state_dict()}, folder / f"stage2_{rank}.pth")
    torch.manual_seed(rank)
    model = model_of(3, seed=2 + rank)  # the first process's weights count
    wrapper = MoMoFullyShardedDataParallel(model)
    result = {"taken": same_tensors(whole_state(model), plain.state_dict())}
    result["own"] = {name: own_part(value).numel() for name, value in model.named_parameters()}
    batches = tiny_batches(plain)
    images = preprocessed(plain, batches)["image_text"]["images"]
    with torch.no_grad():
        result["validation"] = wrapper.eval().val_step(batches), plain.eval().val_step(batches)
        result["shards after validation"] = is_sharded(model)
        with whole_weights(model):
            for _ in range(rank + 1):  # a process may have more data than the other
                result["features"] = image_features(model, images), image_features(plain, images)
        result["shards after evaluation"] = is_sharded(model)
        wrapper.test_step(batches)
        result["shards after a test"] = is_sharded(model)

    runner = SimpleNamespace(iter=0, model=wrapper, logger=mock.Mock())
    new, unused = ["decoders.cross_modal.*", "objectives.image_text.*"], ["decoders.image.*"]
    with pytest.raises(ValueError, match=r"decoders\.image\.\S+: is in the checkpoint only"):
        StageHook(str(folder / f"stage2_{rank}.pth"), new=new).before_train(runner)
    StageHook(str(folder / f"stage2_{rank}.pth"), new=new, unused=unused).before_train(runner)
    merged = plain.state_dict() | {k: v for k, v in previous.state_dict().items() if k in plain.state_dict()}
    result["handed over"] = same_tensors(whole_state(model), merged)

    half = model_of(2, with_cp=True)  # no mismatches that would be drawn by less exact similarities
    batches = tiny_batches(half, 4, start=10 * rank)
    exact, _ = update_gradients(MoMoFullyShardedDataParallel(model_of(2)), batches, "joint")
    steps, _ = update_gradients(MoMoFullyShardedDataParallel(half, param_dtype="bfloat16"), batches, "joint")
    result["half"] = {name: (whole(value), whole(exact[0][name])) for name, value in steps[0].items()}
    result["kept in"] = {parameter.dtype for parameter in half.parameters()}
    return result


@pytest.mark.dist
def test_a_process_holds_half_and_loads_whole_weights(tmp_path: Path) -> None:
    results = run_in_processes(parts, tmp_path, tmp_path)
    model = model_of(3)
    for name, parameter in model.named_parameters():
        held = [result["own"][name] for result in results]
        assert sum(held) == parameter.numel() if parameter.ndim else held == [1, 1], name
    assert sum(results[1]["own"].values()) < 0.51 * sum(parameter.numel() for parameter in model.parameters())
    for result in results:
        assert result["taken"] and result["handed over"]
        assert all(value for name, value in result.items() if name.startswith("shards"))
        (found,), (expected,) = result["validation"]
        assert found == {name: (pytest.approx(value, rel=1e-5), count) for name, (value, count) in expected.items()}
        torch.testing.assert_close(*result["features"])
        assert result["kept in"] == {torch.float32}
        for name, (half, exact) in result["half"].items():
            assert half.dtype == torch.float32 and not torch.isnan(half).any()
            assert (half - exact).norm() <= 0.1 * exact.norm() + 1e-5, name
        name = "backbone.blocks.0.mlp.fc1.weight"
        assert not torch.allclose(*result["half"][name], rtol=1e-4)  # bfloat16 was used


# ------------------------------------------------------------------ runs
STEPS = 6


def config(folder: Path, name: str, wrapper: str | None, **settings) -> dict:
    """Stage 3 with accumulation, clipping, an average of the weights, the guard and validation of that average."""
    data = torch.load(folder / "data.pt")
    cfg = run_config(data, folder / name, stage=3, custom_hooks=[dict(type="EMAHook", momentum=0.1)], **settings)
    cfg["train_cfg"] = dict(type="MultiModalTrainLoop", max_iters=STEPS, val_interval=1)
    cfg["train_dataloader"]["batch_size"] = 4 if wrapper is None else 2
    cfg["model"]["backbone"]["drop_path_rate"] = 0.0
    cfg["model"]["objectives"]["image_text"].pop("itm")  # its mismatches are drawn within a process
    cfg["optim_wrapper"] |= dict(accumulative_counts=2, clip_grad=dict(max_norm=0.5))
    # A key's bias changes no attention: its gradient is rounding, of which a smaller eps would make whole steps.
    cfg["optim_wrapper"]["optimizer"] |= dict(eps=1e-4, foreach=True)  # the latter as torch chooses on a GPU
    interval = 4 if name != "stopped" else STEPS
    cfg["default_hooks"]["checkpoint"] = dict(type="MoMoCheckpointHook", by_epoch=False, interval=interval)
    cfg["default_hooks"]["finite_guard"] = dict(type="FiniteGuard", action="stop")
    cfg["default_hooks"]["preemption"] = dict(type="PreemptionHook")
    cfg |= dict(
        val_dataloader=dict(batch_size=3, loaders=dict(text=dict(dataset=data["text"]))),
        val_cfg=dict(type="MultiModalValLoop"),
        val_evaluator=dict(type="MeanLoss"),
    )
    if wrapper is not None:
        cfg |= dict(launcher="pytorch", model_wrapper_cfg=dict(type=f"momo.{wrapper}"))
    return cfg


class Preempt(Hook):
    """Asks the second process to stop after a step."""

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter + 1 == 4 and rank() == 1:
            signal.raise_signal(signal.SIGTERM)


DDP, FSDP = MoMoDistributedDataParallel.__name__, MoMoFullyShardedDataParallel.__name__
RUNS = {  # name: wrapper, and the checkpoint that it goes on from
    "ddp": (DDP, None),
    "fsdp": (FSDP, None),
    "stopped": (FSDP, None),
    "again": (FSDP, "stopped/iter_4"),
    "from_ddp": (FSDP, "ddp/iter_4"),
    "from_fsdp": (DDP, "fsdp/iter_4"),
}


def several_runs(rank: int, folder: Path) -> int:
    """How much host memory the sharded run keeps for its checkpoints."""
    os.chdir(folder)  # MMEngine collects results through a folder here
    kept = {}
    for name, (wrapper, start) in RUNS.items():
        resumed = {} if start is None else dict(resume=True, load_from=str(folder / start))
        runner = build_runner(config(folder, name, wrapper, **resumed))
        if name == "stopped":
            runner.register_hook(Preempt())
            with pytest.raises(SystemExit):
                runner.train()
        else:
            runner.train()
        saver = next(hook for hook in runner.hooks if isinstance(hook, MoMoCheckpointHook))
        kept[name] = len(saver._snapshots._copy._buffers)
    return kept["fsdp"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    torch.save(write_data(folder / "data"), folder / "data.pt")
    kept = run_in_processes(several_runs, folder, folder)
    assert kept[0] > 0 and kept[1] == 0  # the first process alone holds what is written
    return folder


def content(folder: Path) -> dict[str, torch.Tensor]:
    """Weights, their average and the optimizer's state in a checkpoint."""
    found = read_checkpoint(folder)
    moments = {
        f"{index}/{key}": value for index, entry in found["optimizer"]["state"].items() for key, value in entry.items()
    }
    average = {f"average/{name}": value for name, value in found["ema_state_dict"].items()}
    return {**found["state_dict"], **average, **moments}


def log_of(folder: Path) -> list[dict]:
    shown = ("loss", "grad_norm", "lr")
    return [{k: v for k, v in line.items() if any(word in k for word in shown)} for line in logged(folder)]


def assert_close(folder: Path, other: Path) -> None:
    first, second = content(folder), content(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        atol = 1e-5 * float(second[name].abs().max())
        torch.testing.assert_close(value, second[name], rtol=1e-4, atol=atol, msg=lambda t, n=name: f"{n}: {t}")


@pytest.mark.dist
@pytest.mark.usefixtures("unformatted_configs")
@pytest.mark.parametrize("name", ["fsdp", "from_ddp", "from_fsdp"])
def test_a_run_is_that_of_ddp(runs: Path, name: str) -> None:
    assert_close(runs / name / "iter_6", runs / "ddp" / "iter_6")
    found, expected = log_of(runs / name), log_of(runs / "ddp")
    assert len(expected) == STEPS + 2 and "grad_norm" in expected[-2]  # two validations
    for line, wanted in zip(found, expected[-len(found) :], strict=True):
        assert line == pytest.approx(wanted, rel=1e-4)


@pytest.mark.dist
def test_a_run_that_was_stopped_and_resumed_is_the_unbroken_one_bitwise(runs: Path) -> None:
    assert [path.name for path in sorted((runs / "stopped").glob("iter_*"))] == ["iter_4"]
    assert same_tensors(content(runs / "again" / "iter_6"), content(runs / "fsdp" / "iter_6"))
    assert log_of(runs / "again") == log_of(runs / "fsdp")[-len(log_of(runs / "again")) :]


@pytest.mark.dist
@pytest.mark.usefixtures("unformatted_configs")
def test_one_process_goes_on_from_two_processes_shards(runs: Path) -> None:
    build_runner(config(runs, "alone", None, resume=True, load_from=str(runs / "fsdp" / "iter_4"))).train()
    assert_close(runs / "alone" / "iter_6", runs / "ddp" / "iter_6")


@pytest.mark.dist
def test_a_checkpoint_fills_a_model_that_is_not_sharded(runs: Path) -> None:
    model = get_model(Config(config(runs, "unused", None)), runs / "fsdp")
    assert same_tensors(model.state_dict(), load_weights(runs / "fsdp" / "iter_6"))


# ------------------------------------------------------------------ without other processes
def test_only_float32_and_bfloat16() -> None:
    with pytest.raises(ValueError, match="param_dtype='float16': 'bfloat16', or None"):
        MoMoFullyShardedDataParallel(nn.Linear(1, 1), param_dtype="float16")


def test_what_is_not_sharded_stays_as_it_is() -> None:
    value, model = torch.arange(4.0), nn.Linear(4, 1)
    assert whole(value) is own_part(value) is sharded_as(value, torch.zeros(4)) is value
    with whole_weights(model):
        assert model(value).shape == (1,)
    optimizer = torch.optim.AdamW(model.parameters())
    state = {"state": {0: {"step": torch.ones(()), "exp_avg": torch.zeros(1, 4)}}, "param_groups": []}
    assert shard(state, optimizer) == state
