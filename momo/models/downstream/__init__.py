from .image_encoder import ImageEncoder
from .retrieval import image_features, match_scores, text_features
from .text_classifier import TextClassifier

__all__ = ["ImageEncoder", "TextClassifier", "image_features", "match_scores", "text_features"]
