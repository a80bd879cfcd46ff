from .base import Objective, ObjectiveResult, Request
from .contrastive import ITC
from .masked import CMM, MIM, MLM
from .matching import ITM

__all__ = ["CMM", "ITC", "ITM", "MIM", "MLM", "Objective", "ObjectiveResult", "Request"]
