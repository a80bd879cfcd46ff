"""Training. Importing this package fills the registries of loops, hooks and model wrappers."""

from .broken_hook import BrokenSamplesHook
from .checkpoint import MoMoCheckpointHook
from .distributed import MoMoDistributedDataParallel
from .finite_guard import FiniteGuard
from .linear_probe_loop import LinearProbeLoop
from .mlflow_backend import MLflowVisBackend
from .optim import DecayMatricesOnly
from .pictures_hook import PicturesHook
from .preemption_hook import PreemptionHook
from .progress_hook import ProgressHook
from .retrieval_loop import RetrievalLoop
from .stage_hook import StageHook
from .stall_hook import StallHook
from .train_loop import MultiModalTrainLoop
from .val_loop import MultiModalTestLoop, MultiModalValLoop
from .zero_shot_loop import ZeroShotLoop

__all__ = [
    "BrokenSamplesHook",
    "DecayMatricesOnly",
    "FiniteGuard",
    "LinearProbeLoop",
    "MLflowVisBackend",
    "MoMoCheckpointHook",
    "MoMoDistributedDataParallel",
    "MultiModalTestLoop",
    "MultiModalTrainLoop",
    "MultiModalValLoop",
    "PicturesHook",
    "PreemptionHook",
    "ProgressHook",
    "RetrievalLoop",
    "StageHook",
    "StallHook",
    "ZeroShotLoop",
]
