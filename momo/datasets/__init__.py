"""Data in. Importing this package fills the registries of datasets, samplers and transforms."""

from .collate import PackedCollate
from .image_folder import ImageFolder
from .image_text import ImageText
from .keys import SampleKey
from .loader import build_loader
from .samplers import EvalBatchSampler, GlobalBatchSampler
from .text_corpus import TextCorpus
from .text_table import TextTable
from .transforms import LoadImage, Tokenize, load_tokenizer

__all__ = [
    "EvalBatchSampler",
    "GlobalBatchSampler",
    "ImageFolder",
    "ImageText",
    "LoadImage",
    "PackedCollate",
    "SampleKey",
    "TextCorpus",
    "TextTable",
    "Tokenize",
    "build_loader",
    "load_tokenizer",
]
