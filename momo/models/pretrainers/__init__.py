from .data_preprocessor import MoMoDataPreprocessor
from .momo_pretrainer import MoMoPretrainer

__all__ = ["MoMoDataPreprocessor", "MoMoPretrainer"]
