"""Losses and gradients that are not finite change nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.processes import run_in_processes
from helpers.run import build_runner, run_config, write_data
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from momo.engine import FiniteGuard, MoMoCheckpointHook
from momo.engine.checkpoint import read_checkpoint
from momo.engine.finite_guard import NonFiniteError
from momo.engine.shards import whole
from momo.engine.train_loop import unwrap
from momo.ops import rank

pytestmark = pytest.mark.usefixtures("unformatted_configs")
LOSS = "text/mlm_loss_words"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return write_data(tmp_path_factory.mktemp("data"))


class Spoil(Hook):
    """Makes one loss or gradient not finite in some steps, and keeps weights and optimizer state of each step."""

    def __init__(self, steps: set[int], what: str = LOSS, value: float = math.nan, on_rank: int = 0) -> None:
        self.steps, self.what, self.value, self.on_rank = steps, what, value, on_rank
        self.states: list[list[torch.Tensor]] = []
        self.samples: list[dict] = []

    priority = "HIGHEST"

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        model.register_forward_hook(
            lambda m, a, out: {**out, LOSS: out[LOSS] * self.value} if self._now(LOSS) and LOSS in out else None
        )
        parameter = next(p for p in model.parameters() if p.ndim > 1)
        parameter.register_hook(lambda gradient: gradient * self.value if self._now("gradient") else None)

    def _now(self, what: str) -> bool:
        return self.spoils and self.what == what and rank() == self.on_rank

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self.spoils = runner.iter + 1 in self.steps
        self.samples.append({name: list(batch["sample_ids"]) for name, batch in data_batch.items()})

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        state = runner.optim_wrapper.optimizer.state_dict()["state"]
        values = [*unwrap(runner.model).state_dict().values(), *(v for entry in state.values() for v in entry.values())]
        self.states.append([whole(torch.as_tensor(value)).clone() for value in values])

    def changed(self) -> list[bool]:
        """Of each step but the first, whether anything changed in it."""
        pairs = zip(self.states, self.states[1:], strict=False)
        return [not all(map(torch.equal, before, after)) for before, after in pairs]


def config(
    data: dict, work_dir: Path, guard: dict | None = None, fused: bool = False, steps: int = 6, **settings
) -> dict:
    cfg = run_config(data, work_dir, **settings)
    cfg["train_cfg"] = dict(type="MultiModalTrainLoop", max_iters=steps)
    cfg["optim_wrapper"]["optimizer"]["fused"] = fused
    cfg["default_hooks"]["finite_guard"] = dict(type="FiniteGuard", **(guard or {}))
    return cfg


def run(cfg: dict, spoil: Spoil):
    runner = build_runner(cfg)
    runner.register_hook(spoil)
    runner.train()
    return runner


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("what", "value"), [(LOSS, math.nan), (LOSS, math.inf), ("gradient", -math.inf)])
def test_a_step_is_skipped_whole(data: dict, tmp_path: Path, fused: bool, what: str, value: float) -> None:
    spoil = Spoil({3, 4}, what, value)
    runner = run(config(data, tmp_path, fused=fused), spoil)
    assert spoil.changed() == [True, False, False, True, True]
    assert runner.message_hub.get_info("skipped_steps") == 2
    hub = read_checkpoint(tmp_path / "epoch_2")["message_hub"]
    assert hub["runtime_info"]["skipped_steps"] == 2
    written = json.loads((tmp_path / "non_finite" / "step_3_rank_0.json").read_text())
    assert (written["step"], written["rank"], written["samples"]) == (3, 0, spoil.samples[2])
    if what == LOSS:
        assert set(written["losses_not_finite"]) == {LOSS} and written["modalities"] == ["text"]
    else:
        assert written["gradients_not_finite"] and not written["losses_not_finite"]
    assert all(
        math.isfinite(float(written["losses"][name])) for name in written["losses"] if what != LOSS or name != LOSS
    )


@pytest.mark.parametrize("fused", [False, True])
def test_finite_steps_are_left_alone(data: dict, tmp_path: Path, fused: bool) -> None:
    guarded, free = Spoil(set()), Spoil(set())
    run(config(data, tmp_path / "guarded", fused=fused), guarded)
    cfg = config(data, tmp_path / "free", fused=fused)
    cfg["default_hooks"].pop("finite_guard")
    run(cfg, free)
    assert all(all(map(torch.equal, *pair)) for pair in zip(guarded.states, free.states, strict=True))
    assert not (tmp_path / "guarded" / "non_finite").exists()


@pytest.mark.parametrize("cmga", ["sequential", "off"])
def test_with_a_backward_a_modality(data: dict, tmp_path: Path, cmga: str) -> None:
    spoil = Spoil({3})
    cfg = config(data, tmp_path)
    cfg["train_cfg"]["cmga"] = cmga
    run(cfg, spoil)
    # Without CMGA the image's own update of that step is sound.
    assert spoil.changed() == [True, cmga == "off", True, True, True]


def test_stop(data: dict, tmp_path: Path) -> None:
    spoil = Spoil({3})
    with pytest.raises(NonFiniteError, match="not finite in step 3, so that it changed no weight; see .*non_finite"):
        run(config(data, tmp_path, dict(action="stop")), spoil)
    assert spoil.changed() == [True, False]


def test_skipping_has_a_limit_that_a_resumed_run_keeps(data: dict, tmp_path: Path) -> None:
    cfg = config(data, tmp_path, dict(limit=3), steps=5)
    cfg["default_hooks"]["checkpoint"] = dict(type="MoMoCheckpointHook", by_epoch=False, interval=3)
    cfg["train_cfg"]["max_iters"] = 9
    runner = build_runner(cfg)
    runner.register_hook(Spoil({2, 3, 5, 6, 7}))
    with pytest.raises(NonFiniteError, match="3 such steps"):
        runner.train()
    next(hook for hook in runner.hooks if isinstance(hook, MoMoCheckpointHook)).after_train(runner)
    # From step 3, with two skipped so far; 5 and 6 are sound this time.
    with pytest.raises(NonFiniteError, match="in step 7, .*3 such steps"):
        run({**cfg, "resume": True, "experiment_name": "resumed"}, Spoil({7}))


def test_unknown_action() -> None:
    with pytest.raises(ValueError, match="FiniteGuard.action='ignore' is unknown"):
        FiniteGuard(action="ignore")


def test_infinite_gradients_are_a_dynamic_loss_scalers_business() -> None:
    """With float16 they occur in the search for the scale; only losses are looked at."""
    model = nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    wrapper.loss_scaler, wrapper._scale_update_param = object(), None
    guard = FiniteGuard()
    guard.before_train(SimpleNamespace(model=model, optim_wrapper=wrapper))
    model.weight.grad = torch.full((1, 2), math.inf)
    wrapper.optimizer.step()
    assert float(guard._checks[0].bad_anywhere) == 0 and not model.weight.isfinite().any()
    guard.after_train(None)


def test_a_loss_scalers_verdict_is_kept() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    guard = FiniteGuard()
    guard.before_train(SimpleNamespace(model=nn.Identity(), optim_wrapper=SimpleNamespace(optimizer=optimizer)))
    parameter.grad = torch.ones(2)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert parameter.tolist() == [1, 1] and float(optimizer.found_inf) == 1
    del optimizer.found_inf  # as the scaler does
    optimizer.step()
    assert parameter.tolist() != [1, 1] and not hasattr(optimizer, "found_inf")


def two_ranks(rank: int, data: dict, folder: Path, what: str, wrapper: str, fused: bool) -> dict:
    cfg = config(data, folder, fused=fused, launcher="pytorch", model_wrapper_cfg=dict(type=f"momo.{wrapper}"))
    cfg["train_dataloader"]["batch_size"] = 2
    spoil = Spoil({3}, what, on_rank=1)
    run(cfg, spoil)
    return {"changed": spoil.changed(), "last": spoil.states[-1]}


@pytest.mark.dist
@pytest.mark.parametrize(
    ("what", "wrapper", "fused"),
    [
        (LOSS, "MoMoDistributedDataParallel", False),
        ("gradient", "MoMoDistributedDataParallel", False),
        (LOSS, "MoMoFullyShardedDataParallel", False),
        (LOSS, "MoMoFullyShardedDataParallel", True),
    ],
)
def test_one_ranks_loss_stops_all_ranks_step(data: dict, tmp_path: Path, what: str, wrapper: str, fused: bool) -> None:
    first, second = run_in_processes(two_ranks, tmp_path, data, tmp_path / "run", what, wrapper, fused)
    assert first["changed"] == second["changed"] == [True, False, True, True, True]
    assert all(map(torch.equal, first["last"], second["last"]))
    written = sorted(path.name for path in (tmp_path / "run" / "non_finite").iterdir())
    both = ["step_3_rank_0.json", "step_3_rank_1.json"]
    assert written == (both[1:] if what == LOSS else both)  # a sum over ranks does not say whose gradient it was
