"""Two processes with a batch each are one process with the joined batch: gradients in float64, and whole runs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import VOCABULARY, sentence
from helpers.processes import run_in_processes
from helpers.run import build_runner, run_config, same_tensors, weights, write_data
from helpers.tiny import BACKBONE, tiny_batches, tiny_pretrainer, update_gradients

from momo.engine import MoMoDistributedDataParallel
from momo.models import MoMoPretrainer
from momo.models.objectives.matching import ITMPlan

pytestmark = pytest.mark.dist
SIZE = 4  # samples a process
CASES = [(stage, cmga) for stage in (1, 2, 3) for cmga in ("joint", "sequential", "off")]


def model_of(stage: int) -> MoMoPretrainer:
    return tiny_pretrainer(stage, **(dict(vocab_size=0) if stage == 1 else {})).double()


def batches_of(model: MoMoPretrainer, rank: int) -> dict:
    """Ranks hold different samples, and so different numbers of hidden words."""
    return tiny_batches(model, SIZE, start=10 * rank)


def joined(model: MoMoPretrainer, modality: str, parts: list[dict]) -> dict:
    """One batch of two processes' batches, laid back to back and so not sorted by length."""
    batch = {}
    for key, first in parts[0].items():
        values = [part[key] for part in parts]
        if isinstance(first, torch.Tensor):
            batch[key] = torch.cat(values)
        elif isinstance(first, np.ndarray):
            batch[key] = np.concatenate(values)
        elif isinstance(first, list):
            batch[key] = sum(values, [])
    batch["plans"] = {name: planner(batch) for name, planner in model.planners(modality).items()}
    if "itm" in batch["plans"]:
        batch["plans"]["itm"] = within_processes(batch["plans"]["itm"], [part["plans"]["itm"] for part in parts])
    return batch


def within_processes(plan: ITMPlan, parts: list[ITMPlan]) -> ITMPlan:
    """Mismatches are drawn within a process: the joined batch must not mix them, and must draw with the same noise."""
    noise = torch.stack([torch.block_diag(*(part.noise[side] for part in parts)) for side in range(2)])
    return plan._replace(candidates=torch.block_diag(*(part.candidates for part in parts)), noise=noise)


def distributed_gradients(rank: int) -> dict[tuple[int, str], tuple[list[dict], dict]]:
    """By stage and CMGA mode: the gradients of each optimizer step, averaged over processes, and the log."""
    results = {}
    for case in CASES:
        stage, cmga = case
        model = model_of(stage)
        wrapped = MoMoDistributedDataParallel(model, find_unused_parameters=cmga != "joint")
        steps, log = update_gradients(wrapped, batches_of(model, rank), cmga)
        results[case] = steps, {name: value.detach() for name, value in log.items()}
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return run_in_processes(distributed_gradients, tmp_path_factory.mktemp("gradients"))


@pytest.mark.parametrize(("stage", "cmga"), CASES)
def test_gradients_are_those_of_the_joined_batch(results: list[dict], stage: int, cmga: str) -> None:
    model = model_of(stage)
    parts = [batches_of(model, rank) for rank in range(2)]
    whole = {modality: joined(model, modality, [part[modality] for part in parts]) for modality in model.modalities}
    expected, expected_log = update_gradients(model, whole, cmga)
    (first, first_log), (second, second_log) = (result[stage, cmga] for result in results)
    assert len(first) == len(second) == len(expected)
    for index, step in enumerate(expected):
        largest = max(gradient.abs().max() for gradient in step.values())
        for name, gradient in step.items():
            assert torch.equal(first[index][name], second[index][name]), name  # ranks stay together
            close = dict(rtol=1e-9, atol=1e-11 * largest, msg=lambda text, name=name: f"{name}: {text}")
            torch.testing.assert_close(first[index][name], gradient, **close)
    for name, value in expected_log.items():
        if "accuracy" not in name:
            mean = (first_log[name] + second_log[name]) / 2
            torch.testing.assert_close(mean, value.detach(), rtol=1e-9, atol=0)


def whole_run(rank: int, folder: str, world: int) -> dict:
    """A run of stage 3; each process has its own half of every batch."""
    folder = Path(folder)
    data = {name: {**cfg} for name, cfg in torch.load(folder / "data.pt").items()}
    cfg = run_config(data, folder / f"run{world}", stage=3, max_epochs=2)
    cfg["train_dataloader"]["batch_size"] = 4 // world
    cfg["model"]["backbone"]["drop_path_rate"] = 0.0
    cfg["model"]["objectives"]["image_text"].pop("itm")  # its mismatches are drawn within a process
    cfg["optim_wrapper"] = dict(optimizer=dict(type="SGD", lr=0.1))
    if world > 1:
        cfg["launcher"] = "pytorch"
        cfg["model_wrapper_cfg"] = dict(type="momo.MoMoDistributedDataParallel")
    runner = build_runner(cfg)
    runner.train()
    return {name.removeprefix("module."): value for name, value in weights(runner).items()}


def evaluated(rank: int, folder: str) -> dict:
    """Which samples reach the metric: 11 texts on two processes, in batches of 3; a text's label is its number."""
    folder = Path(folder)
    os.chdir(folder)  # MMEngine collects results through a folder here
    cfg = run_config(torch.load(folder / "data.pt"), folder / "run", launcher="pytorch")
    rows = "".join(f"{sentence(index)}\t{index}\n" for index in range(11))
    (folder / f"table{rank}.tsv").write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    tokenize = dict(type="Tokenize", tokenizer=str(folder / "data" / "tokenizer"), max_len=12)
    table = dict(type="TextTable", file=str(folder / f"table{rank}.tsv"), pipeline=[tokenize])
    cfg |= dict(
        model=dict(type="TextClassifier", num_classes=11, backbone={**BACKBONE, "vocab_size": len(VOCABULARY)}),
        model_wrapper_cfg=dict(type="momo.MoMoDistributedDataParallel"),
        val_dataloader=dict(batch_size=3, loaders=dict(text=dict(dataset=table))),
        val_cfg=dict(type="MultiModalValLoop"),
        val_evaluator=dict(type="Classification"),
    )
    runner, counted = build_runner(cfg), []
    metric = runner.val_loop.evaluator.metrics[0]
    metric.compute_metrics = lambda results: counted.extend(label for _, label in results) or {}
    runner.val()
    return {"labels": counted}


def test_every_sample_is_evaluated_once(tmp_path: Path) -> None:
    torch.save(write_data(tmp_path / "data"), tmp_path / "data.pt")
    results = run_in_processes(evaluated, tmp_path, str(tmp_path))
    assert sorted(results[0]["labels"]) == list(range(11))


def test_a_run_of_two_processes_ends_where_a_run_of_one_does(tmp_path: Path) -> None:
    torch.save(write_data(tmp_path / "data"), tmp_path / "data.pt")
    first, second = run_in_processes(whole_run, tmp_path, str(tmp_path), 2)
    alone = whole_run(0, str(tmp_path), 1)
    assert same_tensors(first, second)
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
