"""Images and texts to comparable features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from momo.models import MoMoPretrainer
from momo.models.downstream import image_features, text_features


def pack_texts(texts: Sequence[str], tokenizer, max_len: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Words and positions (T,) of texts back to back, and their counts (B,); each text is cut at `max_len`."""
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ids = [(encoding.ids or [tokenizer.unk_token_id])[:max_len] for encoding in encodings]
    counts = np.array([len(text) for text in ids], dtype=np.int64)
    words = torch.tensor([word for text in ids for word in text], dtype=torch.int64)
    return words, torch.cat([torch.arange(count) for count in counts]), counts


@torch.inference_mode()
def embed_images(model: MoMoPretrainer, images: Iterable[Tensor], batch_size: int = 64) -> Tensor:
    """Unit-length features of whole images, to be compared with `embed_texts` by dot product.

    Raises: ValueError if the model has no contrastive objective (that is, before stage 3).
    Shapes: images, each (3, H, W) uint8, all of one size; the result is (N, D) on the CPU.
    """
    images, features = list(images), []
    for first in range(0, len(images), batch_size):
        batch = torch.stack(images[first : first + batch_size]).to(model.backbone.cls_token.device)
        features.append(image_features(model, model.data_preprocessor.normalize(batch)).cpu())
    return torch.cat(features)


@torch.inference_mode()
def embed_texts(model: MoMoPretrainer, texts: Sequence[str], tokenizer, batch_size: int = 256) -> Tensor:
    """Unit-length features of whole texts, to be compared with `embed_images` by dot product.

    Args:
        tokenizer: As `momo.datasets.load_tokenizer` returns it.
    Shapes: the result is (N, D) on the CPU.
    """
    device, features = model.backbone.cls_token.device, []
    for first in range(0, len(texts), batch_size):
        words, positions, counts = pack_texts(
            texts[first : first + batch_size], tokenizer, model.backbone.text_embed.max_len
        )
        features.append(text_features(model, words.to(device), positions.to(device), counts).cpu())
    return torch.cat(features)
