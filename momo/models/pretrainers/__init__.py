from .data_preprocessor import MoMoDataPreprocessor
from .find import Found, find_objective
from .momo_pretrainer import MoMoPretrainer

__all__ = ["Found", "MoMoDataPreprocessor", "MoMoPretrainer", "find_objective"]
