"""Everything with weights. Importing this package fills `momo.registry.MODELS`."""

from .backbones import MoMoViT
from .decoders import MoMoDecoder
from .downstream import ImageEncoder, TextClassifier, VQAClassifier
from .losses import GlobalContrastiveLoss, MaskedImageLoss, MaskedLanguageLoss, MatchingLoss
from .necks import ContrastiveProjection, SimpleFeaturePyramid
from .objectives import CMM, ITC, ITM, MIM, MLM
from .pretrainers import MoMoDataPreprocessor, MoMoPretrainer

__all__ = [
    "CMM",
    "ContrastiveProjection",
    "GlobalContrastiveLoss",
    "ITC",
    "ITM",
    "ImageEncoder",
    "MIM",
    "MLM",
    "MaskedImageLoss",
    "MaskedLanguageLoss",
    "MatchingLoss",
    "MoMoDataPreprocessor",
    "MoMoDecoder",
    "MoMoPretrainer",
    "MoMoViT",
    "SimpleFeaturePyramid",
    "TextClassifier",
    "VQAClassifier",
]
