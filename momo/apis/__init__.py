"""What a program calls: models from configs and checkpoints, features, guesses at what is hidden."""

from .embed import embed_images, embed_texts
from .fill_mask import Guess, fill_captions, fill_text, top_words
from .model import get_config, get_model
from .reconstruct import Reconstruction, reconstruct_images

__all__ = [
    "Guess",
    "Reconstruction",
    "embed_images",
    "embed_texts",
    "fill_captions",
    "fill_text",
    "get_config",
    "get_model",
    "reconstruct_images",
    "top_words",
]
