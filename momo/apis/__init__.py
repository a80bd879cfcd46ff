"""What a program calls: models from configs and checkpoints, and inferencers that take images and texts as they are.

Below the inferencers lie functions of tensors, which evaluations share.
"""

from .answer import VQAInferencer
from .base import Inferencer, first_in_config
from .classify import Label, ZeroShotInferencer
from .embed import FeatureInferencer, embed_images, embed_texts
from .explain import DeletionTest, Explanation, ExplanationInferencer, deletion_test, explain_word
from .fill_mask import FillMaskInferencer, Guess, fill_captions, fill_text, top_words
from .heat_map import heat_map
from .image_index import ImageIndex, Match
from .inputs import read_image
from .model import get_config, get_model
from .reconstruct import Reconstruction, ReconstructionInferencer, reconstruct_images
from .retrieve import RetrievalInferencer

__all__ = [
    "DeletionTest",
    "Explanation",
    "ExplanationInferencer",
    "FeatureInferencer",
    "FillMaskInferencer",
    "Guess",
    "ImageIndex",
    "Inferencer",
    "Label",
    "Match",
    "Reconstruction",
    "ReconstructionInferencer",
    "RetrievalInferencer",
    "VQAInferencer",
    "ZeroShotInferencer",
    "deletion_test",
    "embed_images",
    "embed_texts",
    "explain_word",
    "fill_captions",
    "fill_text",
    "first_in_config",
    "get_config",
    "get_model",
    "heat_map",
    "read_image",
    "reconstruct_images",
    "top_words",
]
