"""Checkpoints: safetensors and JSON in a folder, written in the background, and read without running anything."""

from .errors import CheckpointError
from .hook import MoMoCheckpointHook
from .load import load_weights, require_all_weights, weights_file
from .storage import read_checkpoint, verify, write_weights
from .work_dir import begin_run, current_run, find_checkpoint

__all__ = [
    "CheckpointError",
    "MoMoCheckpointHook",
    "begin_run",
    "current_run",
    "find_checkpoint",
    "load_weights",
    "read_checkpoint",
    "require_all_weights",
    "verify",
    "weights_file",
    "write_weights",
]
