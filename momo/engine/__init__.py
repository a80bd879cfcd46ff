"""Training. Importing this package fills the registries of loops, hooks and model wrappers."""

from .checkpoint import PlainCheckpointHook
from .distributed import MoMoDistributedDataParallel
from .optim import DecayMatricesOnly
from .progress_hook import ProgressHook
from .stage_hook import StageHook
from .train_loop import MultiModalTrainLoop
from .val_loop import MultiModalTestLoop, MultiModalValLoop

__all__ = [
    "DecayMatricesOnly",
    "MoMoDistributedDataParallel",
    "MultiModalTestLoop",
    "MultiModalTrainLoop",
    "MultiModalValLoop",
    "PlainCheckpointHook",
    "ProgressHook",
    "StageHook",
]
