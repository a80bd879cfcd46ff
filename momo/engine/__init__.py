"""Training. Importing this package fills the registries of loops, hooks and model wrappers."""

from .checkpoint import PlainCheckpointHook
from .distributed import MoMoDistributedDataParallel
from .linear_probe_loop import LinearProbeLoop
from .optim import DecayMatricesOnly
from .progress_hook import ProgressHook
from .retrieval_loop import RetrievalLoop
from .stage_hook import StageHook
from .train_loop import MultiModalTrainLoop
from .val_loop import MultiModalTestLoop, MultiModalValLoop
from .zero_shot_loop import ZeroShotLoop

__all__ = [
    "DecayMatricesOnly",
    "LinearProbeLoop",
    "MoMoDistributedDataParallel",
    "MultiModalTestLoop",
    "MultiModalTrainLoop",
    "MultiModalValLoop",
    "PlainCheckpointHook",
    "ProgressHook",
    "RetrievalLoop",
    "StageHook",
    "ZeroShotLoop",
]
