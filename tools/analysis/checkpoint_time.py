"""How long a save keeps training waiting, and how long it goes on beside it.

python tools/analysis/checkpoint_time.py configs/momo/stage3_vitb.py --folder work_dirs

Random weights, and an optimizer that has made one step. torch.save of the same, which training would wait for, is timed
beside.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from momo.engine.checkpoint import read_checkpoint, verify
from momo.engine.checkpoint.snapshot import Snapshots
from momo.engine.checkpoint.storage import write_checkpoint
from momo.engine.launch import load_config
from momo.registry import MODELS


def stand_in(config: str) -> SimpleNamespace:
    """What a snapshot reads of a runner."""
    cfg = load_config(config, {})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with DefaultScope.overwrite_default_scope("momo"):
        model = MODELS.build(cfg.model).to(device)
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optim_wrapper.step()
    optim_wrapper.zero_grad()
    return SimpleNamespace(
        model=model,
        optim_wrapper=optim_wrapper,
        message_hub=MessageHub.get_instance("checkpoint_time"),
        param_schedulers=[],
        seed=0,
        experiment_name="checkpoint_time",
        train_dataloader=SimpleNamespace(dataset=None),
        call_hook=lambda *args, **settings: None,
    )


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--folder", type=Path, default=Path("work_dirs"), help="on the disk to be timed")
    args = parser.parse_args()
    runner, snapshots = stand_in(args.config), Snapshots()
    print(f"memory claimed, beside: {seconds(snapshots.claim(runner)):.2f} s")
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for number in range(1, 4):
            target, taken = Path(folder, f"iter_{number}"), []
            waits = seconds(lambda taken=taken, step=number: taken.append(snapshots.take(runner, 0, step, "run")))
            writes = seconds(lambda taken=taken, target=target: write_checkpoint(target, taken[0]))
            verifies = seconds(lambda target=target: verify(target))
            size = taken[0].size / 1e6
            print(
                f"save {number}, {size:,.0f} MB: waits {waits:.2f} s; beside: {writes:.2f} + {verifies:.2f} s",
                flush=True,
            )
        print(f"read and verified: {seconds(lambda: read_checkpoint(target)):.2f} s")
        state = {"state_dict": runner.model.state_dict(), "optimizer": runner.optim_wrapper.state_dict()}
        print(f"torch.save, not brought to the disk: {seconds(lambda: torch.save(state, Path(folder, 'x.pth'))):.2f} s")


if __name__ == "__main__":
    main()
