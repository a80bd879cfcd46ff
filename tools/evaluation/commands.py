"""The ordinary command of one evaluation, and whether its data is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .plan import Evaluation

PATH_KEYS = ("root", "tokenizer")  # the arguments of data that are paths
TOKENIZER = "bert-base-uncased's vocab.txt (github.com/google-research/bert)"


class Settings(NamedTuple):
    """How all evaluations of a checkpoint are run.

    checkpoint: A file or folder. digest: of its weights. has_text, has_contrast: whether its model has met words, and
    compares them with pictures. gpus: processes, 0 for one without a launcher. options: more of --cfg-options, which
    win.
    """

    checkpoint: Path
    digest: str
    has_text: bool
    has_contrast: bool
    data_root: Path
    out: Path
    gpus: int
    options: tuple[str, ...]


def shown_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without its helper variables."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def data_paths(config: Mapping[str, Any], data_root: Path) -> dict[str, Path]:
    """Where a config's data should lie, by dotted key: everything below its folder 'data', moved to `data_root`."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Path]]:
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield from walk(item, f"{key}.{name}" if key else name)
        elif isinstance(value, (list, tuple)):
            for place, item in enumerate(value):
                yield from walk(item, f"{key}.{place}")
        elif isinstance(value, str) and key.rpartition(".")[2] in PATH_KEYS and value.startswith("data/"):
            yield key, data_root / value.removeprefix("data/")

    return dict(walk(shown_config(config), ""))


def missing(evaluation: Evaluation, paths: Mapping[str, Path]) -> str:
    """What to put where, '' if all is there."""
    lacking = {
        path: TOKENIZER if key.endswith("tokenizer") else evaluation.needs
        for key, path in paths.items()
        if not path.exists()
    }
    puts = [f"put {what} at {path}" for path, what in lacking.items()]
    return f"missing: {'; '.join(puts)}" if puts else ""


def command_of(
    evaluation: Evaluation, settings: Settings, work_dir: Path, paths: Mapping[str, Path], *, resume: bool = False
) -> list[str]:
    """What is typed to run an evaluation. Training takes its samples a step whatever the number of processes."""
    tool, config = ("train" if evaluation.batch else "test"), f"configs/downstream/{evaluation.config}.py"
    target = [config] if evaluation.batch else [config, str(settings.checkpoint)]
    if settings.gpus:
        command = [f"tools/dist_{tool}.sh", *target, str(settings.gpus)]
    else:
        command = [sys.executable, f"tools/{tool}.py", *target]
    command += ["--test"] if evaluation.batch else []
    command += ["--resume"] if resume else []
    command += ["--work-dir", str(work_dir), "--out", str(work_dir / "metrics.json")]
    options = [f"{key}={path}" for key, path in paths.items()]
    if evaluation.batch:
        options.append(f"train_dataloader.batch_size={evaluation.batch // max(settings.gpus, 1)}")
        options.append(f"custom_hooks.1.checkpoint={settings.checkpoint}")
        if not settings.has_text:
            options.append("custom_hooks.1.new=[head.*,backbone.text_embed.*]")
    return [*command, "--cfg-options", *options, *settings.options]
