"""Run one evaluation after the other by ordinary commands, and go on where an earlier run stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from momo.apis import get_config
from momo.engine.checkpoint import load_weights

from .plan import EVALUATIONS, Evaluation

ROOT = Path(__file__).parents[2]
PATH_KEYS = ("root", "tokenizer")  # the arguments of data that are paths


class Outcome(NamedTuple):
    """metrics: the figures, None if there are none. problem: why not, '' if there are."""

    metrics: dict[str, float] | None
    problem: str


class Settings(NamedTuple):
    """How all evaluations of a checkpoint are run.

    checkpoint: a file. has_text, has_contrast: whether its model has met words, and compares them with pictures. gpus:
    processes, 0 for one without a launcher. options: more of --cfg-options.
    """

    checkpoint: Path
    has_text: bool
    has_contrast: bool
    fingerprint: str
    data_root: Path
    out: Path
    gpus: int
    options: tuple[str, ...]


def settings_of(checkpoint: Path, data_root: Path, out: Path, gpus: int, options: tuple[str, ...]) -> Settings:
    """Read what must be known of a checkpoint."""
    digest = hashlib.sha256(checkpoint.read_bytes())
    digest.update(repr(options).encode())
    names = load_weights(checkpoint)
    has_text = any(name.startswith("backbone.text_embed.") for name in names)
    has_contrast = any(name.startswith("objectives.image_text.itc.") for name in names)
    return Settings(checkpoint, has_text, has_contrast, digest.hexdigest(), data_root, out, gpus, options)


def data_paths(config: Mapping[str, Any], data_root: Path) -> dict[str, Path]:
    """Where a config's data should lie, by dotted key: everything below its folder 'data', moved to `data_root`."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Path]]:
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield from walk(item, f"{key}.{name}" if key else name)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                yield from walk(item, f"{key}.{place}")
        elif isinstance(value, str) and key.rpartition(".")[2] in PATH_KEYS and value.startswith("data/"):
            yield key, data_root / value.removeprefix("data/")

    shown = {key: value for key, value in config.items() if not key.startswith("_")}
    return dict(walk(shown, ""))


def missing(evaluation: Evaluation, paths: Mapping[str, Path]) -> str:
    """What to put where, '' if all is there."""
    for key, path in paths.items():
        if not path.exists():
            tokenizer = key.endswith("tokenizer")
            return f"missing: put {'the uncased BERT vocab.txt' if tokenizer else evaluation.needs} at {path}"
    return ""


def command_of(evaluation: Evaluation, settings: Settings, work_dir: Path, paths: Mapping[str, Path]) -> list[str]:
    """What is typed to run an evaluation."""
    tool, config = ("train" if evaluation.trains else "test"), f"configs/downstream/{evaluation.config}.py"
    target = [config] if evaluation.trains else [config, str(settings.checkpoint)]
    if settings.gpus:
        command = [f"tools/dist_{tool}.sh", *target, str(settings.gpus)]
    else:
        command = [sys.executable, f"tools/{tool}.py", *target]
    command += ["--test"] if evaluation.trains else []
    command += ["--work-dir", str(work_dir), "--out", str(work_dir / "metrics.json")]
    options = [f"{key}={path}" for key, path in paths.items()]
    if evaluation.trains:
        options.append(f"custom_hooks.1.checkpoint={settings.checkpoint}")
        if not settings.has_text:
            options.append("custom_hooks.1.new=[head.*,backbone.text_embed.*]")
    return [*command, "--cfg-options", *options, *settings.options]


def run_evaluation(name: str, settings: Settings) -> Outcome:
    """One evaluation, unless it was run before with the same weights and options, or its data is not there."""
    evaluation = EVALUATIONS[name]
    work_dir = (settings.out / name).resolve()
    stored = work_dir / "result.json"
    if stored.is_file():
        content = json.loads(stored.read_text())
        if content["fingerprint"] == settings.fingerprint:
            print(f"{name}: done before", flush=True)
            return Outcome(content["metrics"], "")
    if name.startswith("retrieval") and not settings.has_contrast:
        return Outcome(None, "")
    paths = data_paths(get_config(f"downstream/{evaluation.config}"), settings.data_root.resolve())
    problem = missing(evaluation, paths)
    if problem:
        print(f"{name}: {problem}", flush=True)
        return Outcome(None, problem)
    command = command_of(evaluation, settings, work_dir, paths)
    print(f"\n{name}\n$ {shlex.join(command)}", flush=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHON": sys.executable}
    with (work_dir / "log.txt").open("w") as log:
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        last = next((line for line in reversed((work_dir / "log.txt").read_text().splitlines()) if line.strip()), "")
        print(f"failed with exit code {code}; see {work_dir / 'log.txt'}\n  {last}", flush=True)
        return Outcome(None, f"failed: {last}")
    metrics = json.loads((work_dir / "metrics.json").read_text())
    stored.write_text(json.dumps({"fingerprint": settings.fingerprint, "metrics": metrics}, indent=1) + "\n")
    return Outcome(metrics, "")
