"""This project's tiny models, with a tokenizer of as many words, and what they say of given texts and images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BertTokenizerFast

from momo.apis.embed import pack_texts
from momo.datasets import load_tokenizer
from momo.models import TextClassifier, VQAClassifier

from .data import VOCABULARY, write_tokenizer
from .tiny import BACKBONE, IMG_SIZE, perturb, tiny_pretrainer

TEXTS = ["the red cat runs over the hill", "sun", "a dog sleeps under the blue moon."]
BLANKS = ["the [MASK] cat runs over the [MASK]", "[MASK]", "a dog sleeps under [MASK] blue moon."]
WORDS = dict(vocab_size=len(VOCABULARY))


def new_tokenizer(folder: Path) -> BertTokenizerFast:
    return load_tokenizer(write_tokenizer(folder))


def pictures(count: int = 3, size: int = IMG_SIZE) -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


def as_bytes(images: list[Image.Image]) -> Tensor:
    """Images (B, 3, height, width) uint8."""
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def stage3(pooling: str = "cls") -> nn.Module:
    objectives = dict(
        text=dict(mlm=dict(type="MLM", decoder="text")),
        image_text=dict(
            cmm=dict(type="CMM", decoder="cross_modal"),
            itc=dict(type="ITC", projection_dim=24, pooling=pooling),
            itm=dict(type="ITM"),
        ),
    )
    return tiny_pretrainer(objectives, **WORDS).eval()


def text_classifier(pooling: str = "mean", num_classes: int = 3) -> nn.Module:
    return perturb(TextClassifier({**BACKBONE, **WORDS}, num_classes, pooling)).eval()


def vqa_classifier(num_answers: int = 7) -> nn.Module:
    return perturb(VQAClassifier({**BACKBONE, **WORDS}, num_answers)).eval()


def text_batch(texts: list[str], tokenizer: BertTokenizerFast) -> dict[str, Any]:
    """Packed texts as this project's models take them."""
    words, positions, counts = pack_texts(texts, tokenizer, BACKBONE["max_text_len"])
    return {"words": words, "positions": positions, "word_counts": counts}
