"""Data in. Importing this package fills the registries of datasets, samplers and transforms."""

from .collate import PackedCollate
from .glue import GLUE
from .image_folder import ImageFolder
from .image_text import ImageText
from .karpathy import KarpathyCaptions, KarpathyImages
from .keys import SampleKey
from .loader import build_loader
from .samplers import EvalBatchSampler, GlobalBatchSampler, TokenBatchSampler
from .text_corpus import TextCorpus
from .text_table import TextTable
from .tokenize_pair import TokenizePair
from .transforms import LoadImage, Tokenize, load_tokenizer
from .vision_set import VisionSet
from .vqav2 import VQAv2

__all__ = [
    "EvalBatchSampler",
    "GLUE",
    "GlobalBatchSampler",
    "ImageFolder",
    "ImageText",
    "KarpathyCaptions",
    "KarpathyImages",
    "LoadImage",
    "PackedCollate",
    "SampleKey",
    "TextCorpus",
    "TextTable",
    "TokenBatchSampler",
    "Tokenize",
    "TokenizePair",
    "VQAv2",
    "VisionSet",
    "build_loader",
    "load_tokenizer",
]
