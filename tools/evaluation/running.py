"""Run evaluations one after the other, and go on where an earlier run stopped."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from momo.apis import get_config
from momo.engine.checkpoint import begin_run, load_weights, weights_file

from .commands import Settings, command_of, data_paths, missing, shown_config
from .plan import EVALUATIONS, figures_of

ROOT = Path(__file__).parents[2]
LAST_LINES = 15  # of a failed evaluation's log, kept in the results


class Outcome(NamedTuple):
    """metrics: the figures, None if there are none. problem: why not, '' if there are. log: a failure's last lines."""

    metrics: dict[str, float] | None
    problem: str = ""
    log: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.problem.startswith("failed")


def settings_of(checkpoint: Path, data_root: Path, out: Path, gpus: int, options: tuple[str, ...]) -> Settings:
    """Read what must be known of a checkpoint."""
    digest = hashlib.sha256()
    with weights_file(checkpoint).open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    names = load_weights(checkpoint)
    has_text = any(name.startswith("backbone.text_embed.") for name in names)
    has_contrast = any(name.startswith("objectives.image_text.itc.") for name in names)
    return Settings(checkpoint, digest.hexdigest(), has_text, has_contrast, data_root.resolve(), out, gpus, options)


def fingerprint(name: str, settings: Settings) -> str:
    """Of all that an evaluation's figures follow from: weights, config, data folders and options."""
    paths = {key: str(path) for key, path in data_paths(_config(name), settings.data_root).items()}
    parts = [settings.digest, _config(name), EVALUATIONS[name].batch, paths, settings.options]
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def recall(name: str, settings: Settings) -> Outcome | None:
    """What an earlier run measured with the same weights, config and options, None if there is nothing."""
    stored = _read(settings.out / name / "result.json")
    if stored.get("fingerprint") != fingerprint(name, settings):
        return None
    return Outcome(stored["metrics"])


def run_evaluation(name: str, settings: Settings) -> Outcome:
    """Run one evaluation, unless its data is not there. An interrupted fine-tuning goes on from its last checkpoint.

    Whatever happens to it becomes its outcome; nothing is raised but an interruption from the keyboard.
    """
    evaluation, work_dir = EVALUATIONS[name], (settings.out / name).resolve()
    if name.startswith("retrieval") and not settings.has_contrast:
        return Outcome(None, "not possible: retrieval needs the contrastive objective of stage 3")
    paths = data_paths(_config(name), settings.data_root)
    problem = missing(evaluation, paths)
    if problem:
        print(f"{name}: {problem}", flush=True)
        return Outcome(None, problem)

    mark = fingerprint(name, settings)
    resume = bool(evaluation.batch) and _read(work_dir / "started.json").get("fingerprint") == mark
    command = command_of(evaluation, settings, work_dir, paths, resume=resume)
    work_dir.mkdir(parents=True, exist_ok=True)
    if not resume:  # a later run must not go on from another's checkpoint
        begin_run(work_dir)
    (work_dir / "metrics.json").unlink(missing_ok=True)
    write_json(work_dir / "started.json", {"fingerprint": mark, "command": command})
    log = work_dir / "log.txt"
    print(f"\n{name}  (log: {log})\n$ {shlex.join(command)}", flush=True)
    with log.open("a" if resume else "w") as file:
        environment = {**os.environ, "PYTHON": sys.executable}
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT).returncode

    metrics = _read(work_dir / "metrics.json")
    problem = f"exit code {code}" if code else _unusable(name, metrics)
    if problem:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-LAST_LINES:]
        last = lines[-1].strip() if code and lines else problem
        print(f"failed, {problem}; the last lines of {log}:\n  " + "\n  ".join(lines), flush=True)
        return Outcome(None, f"failed: {last} (see {log})", tuple(lines))
    print("  " + "  ".join(f"{key} {value:.4f}" for key, value in metrics.items()), flush=True)
    write_json(work_dir / "result.json", {"fingerprint": mark, "command": command, "metrics": metrics})
    return Outcome(metrics)


@functools.cache
def _config(name: str) -> dict[str, Any]:
    """As shipped; read once, although it is asked for before and after each stage's run."""
    return shown_config(get_config(f"downstream/{EVALUATIONS[name].config}").to_dict())


def write_json(path: Path, content: Any) -> None:
    """Write a file that is either the old or the new one, whenever the program is ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _read(path: Path) -> dict[str, Any]:
    """The content of a JSON file, {} if it is not there or was cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _unusable(name: str, metrics: dict[str, float]) -> str:
    """Why the tables cannot take the figures, '' if they can."""
    if not metrics:
        return "it wrote no figures"
    lacking = sorted(figures_of(name) - set(metrics))
    if lacking:
        return f"its figures {sorted(metrics)} lack {lacking}"
    wrong = sorted(key for key in figures_of(name) if not math.isfinite(metrics[key]))
    return f"{', '.join(wrong)} is no number" if wrong else ""
