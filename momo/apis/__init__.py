"""What a program calls: models from configs and checkpoints, features, guesses at what is hidden."""

from .embed import embed_images, embed_texts
from .explain import DeletionTest, Explanation, deletion_test, explain_word
from .fill_mask import Guess, fill_captions, fill_text, top_words
from .model import get_config, get_model
from .reconstruct import Reconstruction, reconstruct_images

__all__ = [
    "DeletionTest",
    "Explanation",
    "Guess",
    "Reconstruction",
    "deletion_test",
    "embed_images",
    "embed_texts",
    "explain_word",
    "fill_captions",
    "fill_text",
    "get_config",
    "get_model",
    "reconstruct_images",
    "top_words",
]
