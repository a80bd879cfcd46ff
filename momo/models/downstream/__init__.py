from .image_encoder import ImageEncoder
from .reconstruction import Reconstruction, restore_patches
from .retrieval import class_features, image_features, match_scores, text_features
from .text_classifier import TextClassifier
from .vqa_classifier import VQAClassifier

__all__ = [
    "ImageEncoder",
    "Reconstruction",
    "TextClassifier",
    "VQAClassifier",
    "class_features",
    "image_features",
    "match_scores",
    "restore_patches",
    "text_features",
]
