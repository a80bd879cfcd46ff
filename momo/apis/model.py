"""From a config and a checkpoint to a model."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from torch import nn

from momo.engine.checkpoint import find_checkpoint, load_weights
from momo.registry import MODELS


def get_config(name: str | Path) -> Config:
    """Read a config: a path, or a name below configs/ such as 'momo/stage3_vitb'.

    Raises: FileNotFoundError if there is neither.
    """
    shipped = Path(__file__).parents[2] / "configs", Path(__file__).parents[1] / ".mim" / "configs"
    candidates = [Path(name), *(folder / f"{name}.py" for folder in shipped)]
    for path in candidates:
        if path.is_file():
            return Config.fromfile(path)
    raise FileNotFoundError(f"no config at {name}, nor {' nor '.join(str(path) for path in candidates[1:])}")


def get_model(config: Config | str | Path, checkpoint: str | Path | None = None) -> nn.Module:
    """Build the model of a config, in evaluation mode, with the weights of a checkpoint if one is given.

    The config goes with it as `model._config`, where mmpretrain's inferencers look for it too.

    Args:
        config: See `get_config`.
        checkpoint: A checkpoint's folder, a file of weights, or a work_dir whose newest checkpoint counts; None keeps
            the random initialisation.
    Raises: FileNotFoundError if there is no checkpoint; CheckpointError if it is not whole; RuntimeError (torch's) if
        it does not fit the model.
    """
    if not isinstance(config, Config):
        config = get_config(config)
    model = MODELS.build(config.model)
    if checkpoint is not None:
        path = find_checkpoint(checkpoint)
        if path is None:
            raise FileNotFoundError(f"checkpoint={str(checkpoint)!r}: no checkpoint or file, and no work_dir with one")
        model.load_state_dict(load_weights(path))
    model._config = config
    return model.eval()
