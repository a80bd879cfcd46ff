"""Data in. Importing this package fills the registries of datasets, samplers and transforms."""

from .broken import BrokenSample, TooManyBroken
from .collate import PackedCollate
from .glue import GLUE
from .image_folder import ImageFolder
from .image_tars import ImageTars
from .image_text import ImageText
from .karpathy import KarpathyCaptions, KarpathyImages
from .keys import SampleKey
from .loader import build_loader
from .samplers import EvalBatchSampler, GlobalBatchSampler, TokenBatchSampler
from .text_corpus import TextCorpus
from .text_table import TextTable
from .token_corpus import TokenCorpus
from .tokenize_pair import TokenizePair
from .transforms import LoadImage, Tokenize, load_tokenizer, word_pieces
from .vision_set import VisionSet
from .vqav2 import VQAv2
from .web_pairs import WebDatasetPairs

__all__ = [
    "BrokenSample",
    "EvalBatchSampler",
    "GLUE",
    "GlobalBatchSampler",
    "ImageFolder",
    "ImageTars",
    "ImageText",
    "KarpathyCaptions",
    "KarpathyImages",
    "LoadImage",
    "PackedCollate",
    "SampleKey",
    "TextCorpus",
    "TextTable",
    "TokenBatchSampler",
    "TokenCorpus",
    "Tokenize",
    "TokenizePair",
    "TooManyBroken",
    "VQAv2",
    "VisionSet",
    "WebDatasetPairs",
    "build_loader",
    "load_tokenizer",
    "word_pieces",
]
