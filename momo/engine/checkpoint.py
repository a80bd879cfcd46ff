"""Reading weights without running anything that lies in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from momo.registry import HOOKS


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keep MMEngine's checkpoints free of pickled code, so that `torch.load(weights_only=True)` reads them.

    What stands in the way is the history of logged values, kept as objects that carry methods: it is stored as tensors.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        hub = checkpoint.get("message_hub", {})
        hub["log_scalars"] = {name: _plain_history(buffer) for name, buffer in hub.get("log_scalars", {}).items()}
        hub["runtime_info"] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in hub.get("runtime_info", {}).items()
        }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        scalars = checkpoint.get("message_hub", {}).get("log_scalars", {})
        for name, plain in scalars.items():
            if isinstance(plain, dict):
                history = (plain["values"].tolist(), plain["counts"].tolist())
                scalars[name] = HistoryBuffer(*history, max_length=plain["max_length"])


def _plain_history(buffer: HistoryBuffer) -> dict:
    values, counts = (torch.tensor(column.tolist(), dtype=torch.float64) for column in buffer.data)
    return {"values": values, "counts": counts, "max_length": buffer.max_length}


def find_checkpoint(path: str | Path) -> Path | None:
    """The file itself, or the newest checkpoint of a work_dir; None if there is none yet."""
    path = Path(path)
    if path.is_file():
        return path
    pointer = path / "last_checkpoint"
    if not pointer.is_file():
        return None
    # The pointer may name the place where the folder lay when it was written.
    named = Path(pointer.read_text().strip())
    return next((file for file in (path / named.name, named) if file.is_file()), None)


def read_plain(path: str | Path, map_location: str | torch.device | None = "cpu") -> Any:
    """The content of a torch checkpoint, read with `weights_only=True` and nothing else.

    Raises: ValueError naming the file if it cannot be read so, as one that wants to run code cannot.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises whatever the broken part of a file provokes; all of it means 'refused'
        raise ValueError(f"{path} cannot be read as plain weights: {error}") from error


@CheckpointLoader.register_scheme(prefixes="", force=True)
def _load_local(filename: str, map_location: str | torch.device | None = None) -> Any:
    """Local files, wherever MMEngine loads or resumes: its own loader unpickles what it cannot read as plain data."""
    return load_weights(filename) if str(filename).endswith(".safetensors") else read_plain(filename, map_location)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights by name from a .safetensors file or a torch checkpoint.

    Raises: ValueError naming the file if it cannot be read as plain data, or holds no weights.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} cannot be read as plain weights: {error}") from error
    content = read_plain(path)
    weights = content.get("state_dict", content.get("model", content)) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not any(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path} holds no weights")
    return {name.removeprefix("module."): value for name, value in weights.items() if isinstance(value, Tensor)}


def require_all_weights(model: nn.Module, path: str | Path) -> None:
    """Refuse to evaluate a model that a checkpoint does not fill; MMEngine would only log what it lacks.

    Weights that the checkpoint has beyond the model's, such as decoders, are no matter.

    Raises: ValueError naming the weights that are missing or of another shape.
    """
    weights, own = load_weights(path), model.state_dict()
    problems = [
        f"  {name}: {'has another shape' if name in weights else 'is missing'}"
        for name, value in own.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n  ... {len(problems) - 20} more" if len(problems) > 20 else "")
        raise ValueError(f"{path} does not fill the model of this config:\n{shown}")
