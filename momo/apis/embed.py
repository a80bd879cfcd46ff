"""Images and texts to comparable features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from momo.datasets import word_pieces
from momo.models import ITC, MoMoPretrainer
from momo.models.downstream import image_features, text_features

from .base import Inferencer
from .inputs import ImageSource, as_texts, first_of_batches


def pack_texts(texts: Sequence[str], tokenizer, max_len: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Words and positions (T,) of texts back to back, and their counts (B,); each text is cut at `max_len`."""
    ids = [word_pieces(text, tokenizer)[:max_len] for text in texts]
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
    for first in first_of_batches(len(images), batch_size, "embed images"):
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
    for first in first_of_batches(len(texts), batch_size, "embed texts"):
        words, positions, counts = pack_texts(
            texts[first : first + batch_size], tokenizer, model.backbone.text_embed.max_len
        )
        features.append(text_features(model, words.to(device), positions.to(device), counts).cpu())
    return torch.cat(features)


class FeatureInferencer(Inferencer):
    """Images and texts to unit-length features, which are compared by dot product. See Inferencer."""

    needs = (ITC,)

    def images(self, images: ImageSource | Sequence[ImageSource], batch_size: int = 64) -> Tensor:
        """Shapes: (N, D) on the CPU."""
        batches = self.read(images, batch_size, "embed images")
        return torch.cat([embed_images(self.model, batch, len(batch)) for batch in batches])

    def texts(self, texts: str | Sequence[str], batch_size: int = 256) -> Tensor:
        """Texts are cut at the model's longest. Shapes: (N, D) on the CPU."""
        return embed_texts(self.model, as_texts(texts), self.tokenizer, batch_size)
