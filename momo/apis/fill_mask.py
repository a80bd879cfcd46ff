"""Guess hidden words, from the text around them or with the help of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from momo.models import CMM, MLM, MoMoPretrainer
from momo.models.objectives.base import Batch
from momo.models.objectives.masked import MaskedPlan
from momo.models.pretrainers import Found, find_objective
from momo.ops import grid_size, plan_sequences

from .base import Inferencer
from .embed import pack_texts
from .inputs import ImageSource, as_list, as_texts, first_of_batches, one_each


class Guess(NamedTuple):
    """A word piece and its probability."""

    word: str
    probability: float


def fill_text(model: MoMoPretrainer, texts: Sequence[str], tokenizer, batch_size: int = 64) -> Tensor:
    """Log-probabilities of the words behind each [MASK], given the rest of its text: masked language modelling.

    Args:
        texts: Each with at least one [MASK].
        tokenizer: As `momo.datasets.load_tokenizer` returns it.
    Shapes: the result is (M, vocabulary) on the CPU: one row a [MASK], in the order of reading.
    Raises: ValueError if the model has no masked-language objective, or a text no [MASK] within the longest length.
    """
    found, rows = find_objective(model, MLM), []
    for first in first_of_batches(len(texts), batch_size, "fill in"):
        rows.append(
            blank_log_probabilities(model, found, blank_batch(model, texts[first : first + batch_size], tokenizer))
        )
    return torch.cat(rows)


def fill_captions(
    model: MoMoPretrainer, images: Sequence[Tensor], captions: Sequence[str], tokenizer, batch_size: int = 64
) -> Tensor:
    """Log-probabilities of the words behind each [MASK], given the rest of its caption and the whole image:
    cross-modal.

    Args:
        captions: Each with at least one [MASK].
        tokenizer: As `momo.datasets.load_tokenizer` returns it.
    Shapes: images, one a caption, each (3, H, W) uint8, all of one size; the result is (M, vocabulary) on the CPU: one
        row a [MASK], in the order of reading.
    Raises: ValueError if the model has no cross-modal objective, or a caption no [MASK] within the longest length, or
        images and captions differ in number.
    """
    one_each(images, captions, ("images", "captions"))
    found, rows = find_objective(model, CMM), []
    for first in first_of_batches(len(captions), batch_size, "fill in"):
        batch = blank_batch(model, captions[first : first + batch_size], tokenizer)
        batch["images"] = torch.stack(list(images[first : first + batch_size]))
        rows.append(blank_log_probabilities(model, found, batch))
    return torch.cat(rows)


def top_words(log_probabilities: Tensor, tokenizer, k: int = 5) -> list[list[Guess]]:
    """The k likeliest words of each row, best first.

    Shapes: log_probabilities (M, vocabulary).
    """
    best = log_probabilities.exp().topk(k)
    return [
        [Guess(*pair) for pair in zip(tokenizer.convert_ids_to_tokens(ids), values, strict=True)]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def blank_batch(model: MoMoPretrainer, texts: Sequence[str], tokenizer) -> Batch:
    """Packed texts; `blanks` (T,) says which of their words are [MASK].

    Raises: ValueError if a text has no [MASK] within the longest length.
    """
    max_len = model.backbone.text_embed.max_len
    words, positions, counts = pack_texts(texts, tokenizer, max_len)
    blanks = (words == tokenizer.mask_token_id).numpy()
    for text, found in zip(texts, np.split(blanks, np.cumsum(counts)[:-1]), strict=True):
        asked = text.count(tokenizer.mask_token)
        if asked == 0 or found.sum() != asked:
            raise ValueError(
                f"{text!r} needs at least one {tokenizer.mask_token}, and all of them within {max_len} word pieces"
            )
    return {"words": words, "positions": positions, "word_counts": counts, "blanks": blanks}


def predict_blanks(
    model: MoMoPretrainer, found: Found, batch: Batch, hidden_patches: np.ndarray | None = None
) -> tuple[Tensor, MaskedPlan]:
    """What the objective's decoder says about the blanks: logits (M, vocabulary), and the plan behind them.

    Everything but the blanks is visible, and the patches that `hidden_patches` (B * L,) names with True; None hides
    none of them.
    """
    modality, name, objective, decoder = found
    backbone, counts, num_patches = model.backbone, batch["word_counts"], 0
    if "images" in batch:
        num_patches = int(np.prod(grid_size(*batch["images"].shape[-2:], backbone.patch_size)))
    plan = MaskedPlan(*plan_sequences(len(counts), num_patches, counts, hidden_patches, batch["blanks"]))
    inputs = model.data_preprocessor({modality: {**batch, "plans": {name: plan}}})["inputs"]
    inputs = model.with_word_tokens(inputs)[modality]
    plan = inputs["plans"][name]
    encoded = backbone.encode(objective.request(backbone, inputs, plan, None).tokens[0])
    decoded = objective.decode(encoded, inputs, plan, backbone, decoder)
    logits = decoder.predict_words(decoded, plan.decode.hidden_word_rows, backbone.text_embed.words.weight)
    return logits.float(), plan


@torch.inference_mode()
def blank_log_probabilities(
    model: MoMoPretrainer, found: Found, batch: Batch, hidden_patches: np.ndarray | None = None
) -> Tensor:
    """`predict_blanks` as log-probabilities on the CPU."""
    return predict_blanks(model, found, batch, hidden_patches)[0].log_softmax(-1).cpu()


class FillMaskInferencer(Inferencer):
    """Captions with [MASK] to words for each of them, guessed with the help of an image. See Inferencer."""

    needs = (CMM,)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        captions: str | Sequence[str],
        k: int = 5,
        batch_size: int = 64,
    ) -> list[list[list[Guess]]]:
        """For each caption and each of its [MASK], the k likeliest words, best first.

        Raises: ValueError as `fill_captions`, or for an image that cannot be read.
        """
        images, captions, rows = as_list(images, "images"), as_texts(captions, "captions"), []
        one_each(images, captions, ("images", "captions"))
        for batch in self.read(images, batch_size, "fill in"):
            asked = captions[len(rows) : len(rows) + len(batch)]
            rows += self._by_text(fill_captions(self.model, batch, asked, self.tokenizer, len(batch)), asked, k)
        return rows

    def without_image(self, texts: str | Sequence[str], k: int = 5, batch_size: int = 64) -> list[list[list[Guess]]]:
        """The same from the words alone, by masked language modelling.

        Raises: ValueError as `fill_text`.
        """
        texts = as_texts(texts)
        return self._by_text(fill_text(self.model, texts, self.tokenizer, batch_size), texts, k)

    def _by_text(self, log_probabilities: Tensor, texts: list[str], k: int) -> list[list[list[Guess]]]:
        rows = iter(top_words(log_probabilities, self.tokenizer, k))
        return [[next(rows) for _ in range(text.count(self.tokenizer.mask_token))] for text in texts]
