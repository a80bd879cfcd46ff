from .contrastive import GlobalContrastiveLoss, global_contrastive_loss
from .matching import MatchingLoss, draw_negatives
from .reconstruction import MaskedImageLoss, MaskedLanguageLoss

__all__ = [
    "GlobalContrastiveLoss",
    "MaskedImageLoss",
    "MaskedLanguageLoss",
    "MatchingLoss",
    "draw_negatives",
    "global_contrastive_loss",
]
