"""Shipped downstream configs, made small enough for tests: a tiny encoder, little data, one process."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from momo.engine.config_check import check_config
from momo.engine.train_loop import unwrap

from .data import VOCABULARY, write_tokenizer
from .processes import run_in_processes
from .run import build_runner
from .tiny import BACKBONE

ROOT = Path(__file__).parents[2]
_runs = count()


def small(name: str, tmp_path: Path, data: Path, **backbone: Any) -> Config:
    """A config of configs/downstream on data below a folder, with the tiny encoder, checked as the tools check it.

    Args:
        data: Stands for the config's folder 'data'; the tokenizer is written into it.
    """
    cfg = Config.fromfile(ROOT / "configs" / "downstream" / f"{name}.py")
    moved = _moved(cfg.to_dict(), str(data))
    write_tokenizer(data / "bert-base-uncased")
    cfg = Config({key: value for key, value in moved.items() if not key.startswith("_")})
    sizes = {key: value for key, value in BACKBONE.items() if key != "type"}
    cfg.model.backbone.update({**sizes, "vocab_size": len(VOCABULARY), "max_text_len": 32, **backbone})
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(key):
            cfg[key].update(batch_size=4, num_workers=0)
    cfg.work_dir = str(tmp_path / "run")
    cfg.experiment_name = f"downstream_{next(_runs)}"
    cfg.log_level = "ERROR"
    check_config(cfg)
    return cfg


def from_random_weights(cfg: Config, epochs: int = 2) -> Config:
    """Fine-tune for a few epochs from the random initialisation, warm-up taking the first quarter."""
    cfg.custom_hooks[1].checkpoint = None
    cfg.train_cfg.max_epochs = epochs
    for scheduler in cfg.param_scheduler:
        scheduler.update({key: epochs / 4 for key in ("begin", "end") if scheduler.get(key)})
    return cfg


def in_one_and_two_processes(
    cfg: Config, folder: Path, wrapper: str = "MoMoDistributedDataParallel"
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """What a config's test gives with the same weights in this process, and in each of two."""
    runner, weights = build_runner(cfg), folder / "weights.pth"
    torch.save(runner.model.state_dict(), weights)
    alone = runner.test()
    cfg.launcher, cfg.model_wrapper_cfg = "pytorch", dict(type=f"momo.{wrapper}")
    return alone, run_in_processes(_test_with, folder, cfg, weights)


def _test_with(rank: int, cfg: Config, weights: Path) -> dict[str, float]:
    runner = build_runner(cfg)
    unwrap(runner.model).load_state_dict(torch.load(weights))
    return runner.test()


def _moved(value: Any, data: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(item, data) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, data) for item in value)
    return re.sub("^data(?=/)", data, value) if isinstance(value, str) else value
