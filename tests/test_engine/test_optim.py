"""Parameter groups and the training log's additions."""

from pathlib import Path

import pytest
import torch
from helpers.run import build_runner, logged, run_config, write_data
from helpers.tiny import tiny_pretrainer

from momo.engine import DecayMatricesOnly

pytestmark = pytest.mark.usefixtures("unformatted_configs")


def groups_of(model: torch.nn.Module) -> list[dict]:
    cfg = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05))
    return DecayMatricesOnly(cfg)(model).optimizer.param_groups


def test_matrices_decay_and_the_rest_does_not() -> None:
    model = tiny_pretrainer("all")
    decayed, plain = groups_of(model)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    without = {names[id(parameter)] for parameter in plain["params"]}
    assert all(name.endswith((".bias", "_bias", ".weight", "logit_scale")) for name in without)
    assert all("norm" in name or ".2." in name for name in without if name.endswith(".weight"))  # LayerNorms
    assert len(decayed["params"]) + len(plain["params"]) == len(names)
    assert {names[id(parameter)] for parameter in decayed["params"]}.isdisjoint(without)


def test_a_head_learns_faster_in_groups_of_its_own() -> None:
    model = torch.nn.Module()
    model.backbone, model.head = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
    cfg = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05))
    wrapper = DecayMatricesOnly(cfg, dict(head_lr_mult=10.0))(model)
    groups = [(group["lr"], group["weight_decay"], group["params"]) for group in wrapper.optimizer.param_groups]
    assert groups == [
        (1e-3, 0.05, [model.backbone.weight]),
        (1e-3, 0.0, [model.backbone.bias]),
        (1e-2, 0.05, [model.head.weight]),
        (1e-2, 0.0, [model.head.bias]),
    ]
    with pytest.raises(ValueError, match="the model has no 'head'"):
        DecayMatricesOnly(cfg, dict(head_lr_mult=10.0))(model.backbone)
    with pytest.raises(ValueError, match="'norm_decay_mult': 0.0} has no effect with DecayMatricesOnly"):
        DecayMatricesOnly(cfg, dict(norm_decay_mult=0.0))(model)


def test_frozen_parameters_are_left_out() -> None:
    model = tiny_pretrainer(1, frozen_stages=1, vocab_size=0)
    given = {id(parameter) for group in groups_of(model) for parameter in group["params"]}
    assert given == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert len(given) < len(list(model.parameters()))


def test_log_has_speed_and_memory(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    build_runner(run_config(data, tmp_path / "run", max_epochs=1, custom_hooks=[dict(type="ProgressHook")])).train()
    for line in logged(tmp_path / "run"):
        assert line["image/samples_per_s"] > 0 and line["text/samples_per_s"] > 0
        if not torch.cuda.is_available():
            assert 100 < line["memory"] < 100_000  # MB
