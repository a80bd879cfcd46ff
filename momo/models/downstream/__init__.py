from .image_encoder import ImageEncoder
from .retrieval import class_features, image_features, match_scores, text_features
from .text_classifier import TextClassifier
from .vqa_classifier import VQAClassifier

__all__ = [
    "ImageEncoder",
    "TextClassifier",
    "VQAClassifier",
    "class_features",
    "image_features",
    "match_scores",
    "text_features",
]
