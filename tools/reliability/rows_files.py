"""Rows about files that are damaged, do not fit, or are hostile: T6, T7, T8, T19, T20."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors.torch import load_file

from momo.engine.checkpoint import CheckpointError, find_checkpoint, read_checkpoint, write_weights
from momo.engine.checkpoint.storage import FILES, MANIFEST, MODEL
from momo.engine.checkpoint.work_dir import current_run, newest_whole
from momo.engine.config_check import ConfigError, check_config

from .rows_resume import Result, resumed, wait_for_step
from .runs import Lab

ROOT = Path(__file__).parents[2]


def interrupted(lab: Lab, stage: int) -> Path:
    """The work_dir of a run that was killed after its third checkpoint; two are there."""
    work_dir = lab.new("interrupted")
    cfg = lab.config(stage, 1)
    cfg["custom_hooks"][-1]["pause"] = 0.03
    running = lab.start(cfg, work_dir, 1)
    wait_for_step(lab, running, work_dir, 12)
    running.signal(signal.SIGKILL)
    running.wait()
    return work_dir


def refused(work_dir: Path, damaged: Path, name: str, words: tuple[str, ...]) -> str:
    """Whether a damaged checkpoint is refused by name, and the older one taken, loudly."""
    try:
        read_checkpoint(damaged)
        return f"{damaged} was loaded"
    except CheckpointError as error:
        if not all(word in str(error) for word in (name, *words)):
            return f"the refusal says only {error}"
    warnings: list[str] = []
    taken = newest_whole(work_dir, current_run(work_dir), warnings.append)
    if taken is None or taken == damaged or len(warnings) != 1 or name not in warnings[0]:
        return f"taken: {taken}, warned: {warnings}"
    return ""


def damage(lab: Lab, work_dir: Path, change: Callable[[Path], None], name: str, words: tuple[str, ...]) -> str:
    """Work on a copy of the checkpoints."""
    copied = lab.new("damaged")
    shutil.copytree(work_dir, copied)
    newest = find_checkpoint(copied)
    change(newest / name)
    problem = refused(copied, newest, name, words)
    shutil.rmtree(copied)
    return problem


def t6(lab: Lab, count: int) -> Iterator[Result]:
    """Truncated checkpoint files."""
    work_dir = interrupted(lab, 2)

    def truncate(path: Path) -> None:
        os.truncate(path, lab.random.randrange(path.stat().st_size))

    for number in range(count):
        name = (*FILES, MANIFEST)[number % 4]
        words = () if name == MANIFEST else ("bytes expected", "found")
        yield name, damage(lab, work_dir, truncate, name, words)
    truncate(find_checkpoint(work_dir) / MODEL)
    yield "and then --resume", resumed(lab, 2, 1, work_dir)


def t7(lab: Lab, count: int) -> Iterator[Result]:
    """One flipped bit."""
    work_dir = interrupted(lab, 3)

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[lab.random.randrange(len(content))] ^= 1 << lab.random.randrange(8)
        path.write_bytes(content)

    for number in range(count):
        name = (*FILES, MANIFEST)[number % 4]
        words = () if name == MANIFEST else ("sha256", "expected", "found")
        yield name, damage(lab, work_dir, flip, name, words)


def t8(lab: Lab, count: int) -> Iterator[Result]:
    """Weights of the stage before with another shape, missing, or too many."""
    weights = load_file(find_checkpoint(lab.reference(2, 1).work_dir) / MODEL)
    name = "backbone.blocks.0.mlp.fc1.weight"
    name = name if name in weights else next(key for key, value in weights.items() if value.ndim == 2)
    shape = tuple(weights[name].shape)
    cases: dict[str, tuple[dict, tuple[str, ...]]] = {
        "another shape": ({**weights, name: torch.zeros(3, 3)}, (name, str((3, 3)), str(shape))),
        "missing": ({key: value for key, value in weights.items() if key != name}, (name, "is not in the checkpoint")),
        "extra": ({**weights, "backbone.more": torch.zeros(2)}, ("backbone.more", "is in the checkpoint only")),
    }
    for _ in range(count):
        for case, (changed, words) in cases.items():
            source, work_dir = lab.new("t8_source"), lab.new("t8")
            write_weights(source / "epoch_1", changed)
            cfg = lab.config(2, 1)
            cfg["custom_hooks"].append(dict(type="StageHook", checkpoint=str(source / "epoch_1")))
            running = lab.start(cfg, work_dir, 1)
            named = running.wait() == [1] and all(word in running.text() for word in (*words, "does not fit"))
            yield case, "" if named else f"see {work_dir}"


FREE = frozenset({"loaders", "objectives", "decoders", "custom_keys", "image", "text", "image_text", "default_hooks"})


def keys_of(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of keys that a config does not invent."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not (path and path[-1] in FREE) and not str(key).startswith("_"):
                yield (*path, key)
            yield from keys_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from keys_of(item, (*path, index))


def t19(lab: Lab, count: int) -> Iterator[Result]:
    """Misspelt keys of shipped configs are refused by name before anything is built."""
    paths = [path for path in sorted((ROOT / "configs").rglob("*.py")) if "_base_" not in path.parts]
    paths = [path for path in paths if "mmpretrain" not in path.read_text() and "imagenet" not in path.name]
    configs = {path.stem: Config.fromfile(path).to_dict() for path in lab.random.sample(paths, min(12, len(paths)))}
    for _ in range(count):
        name = lab.random.choice(list(configs))
        cfg = {key: value for key, value in copy.deepcopy(configs[name]).items() if not key.startswith("_")}
        path = lab.random.choice(list(keys_of(cfg)))
        parent = functools.reduce(lambda value, key: value[key], path[:-1], cfg)
        parent[f"{path[-1]}x"] = parent.pop(path[-1])
        dotted = ".".join(map(str, path))
        try:
            check_config(Config(cfg))
            yield f"{name}: {dotted}", f"{dotted}x was taken"
        except ConfigError as error:
            named = f"{path[-1]}x" in str(error) or dotted in str(error)  # 'type' misspelt: what it makes is missing
            yield f"{name}: {dotted}", "" if named else f"{dotted}x: the error does not name it: {error}"
