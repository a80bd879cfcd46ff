"""Reading weights without running anything that lies in the file, here and wherever MMEngine loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .errors import CheckpointError
from .storage import MANIFEST, MODEL, read_checkpoint, read_weights


def weights_file(path: str | Path) -> Path:
    """The file that holds the weights: of a checkpoint's folder, the one in it."""
    path = Path(path)
    return path / MODEL if path.is_dir() else path


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Weights by name from a checkpoint, a .safetensors file, or a torch file of plain weights.

    Raises: FileNotFoundError if it is not there; CheckpointError, a ValueError, naming the file if it cannot be read
        as plain data, is not what its checkpoint's manifest says, or holds no weights.
    """
    path = weights_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of weights")
    if path.suffix == ".safetensors":
        return read_weights(path)
    content = _read_plain(path)
    weights = content.get("state_dict", content.get("model", content)) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not any(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} holds no weights")
    return {name.removeprefix("module."): value for name, value in weights.items() if isinstance(value, Tensor)}


def _read_plain(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the broken part of a file provokes; all of it means 'refused'
        raise CheckpointError(f"{path} cannot be read as plain weights: {error}") from error


def require_all_weights(model: nn.Module, path: str | Path) -> None:
    """Refuse to evaluate a model that a checkpoint does not fill; MMEngine would only log what it lacks.

    Weights that the checkpoint has beyond the model's, such as decoders, are no matter.

    Raises: CheckpointError naming the weights that are missing or of another shape.
    """
    weights, own = load_weights(path), model.state_dict()
    problems = [
        f"  {name}: {'has another shape' if name in weights else 'is missing'}"
        for name, value in own.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n  ... {len(problems) - 20} more" if len(problems) > 20 else "")
        raise CheckpointError(f"{path} does not fill the model of this config:\n{shown}")


# MMEngine unpickles what it cannot read as plain data, whatever scheme a file comes by. These take its loaders' place.
def _load_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint whole, of other files the weights."""
    path = Path(filename).expanduser()
    return read_checkpoint(path) if (path / MANIFEST).is_file() else {"state_dict": load_weights(path)}


def _load_http(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Weights from the web, kept in torch's cache; with several processes, fetch them beforehand."""
    target = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(filename).path).name)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(target))
    return _load_local(str(target))


def _refuse(filename: str, map_location: Any = None) -> dict[str, Any]:
    raise CheckpointError(f"{filename}: weights are read from local files and https:// only; download it first")


for _scheme in tuple(CheckpointLoader._schemes):
    _loader = {"": _load_local, "http://": _load_http, "https://": _load_http}.get(_scheme, _refuse)
    CheckpointLoader.register_scheme(_scheme, _loader, force=True)
