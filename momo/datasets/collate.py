"""Samples to one packed batch, masks and index tables included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from momo.ops import key_of


class PackedCollate:
    """Pack samples without padding and draw the tables that a step looks up. Runs in the loader's workers.

    A sample has 'key', and 'image' (3, H, W) uint8 with 'image_id', or 'words' (T,) int64, or both,
    and in supervised tasks 'label', a number or an array, and 'annotations'. The batch has
      keys (B,) uint64; sample_ids: the dataset's names of the samples, for error reports;
      images (B, 3, H, W) uint8, image_ids (B,);
      words, positions (sum of T,) int64, word_counts (B,), text_ids (B,): equal for equal texts;
      labels (B, ...); annotations: for metrics, as they are; plans: what each planner drew.
    Samples with words are sorted by their number, which lets attention run over few, large views; order (B,) says which
    place each had before.

    Args:
        planners: By objective, a function of the batch.
        text_limits: The model's longest text and the size of its vocabulary; None if it takes no text.
    Raises: ValueError, when called, for a text beyond the limits.
    """

    def __init__(
        self,
        planners: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        text_limits: tuple[int, int] | None = None,
    ) -> None:
        self.planners, self.text_limits = dict(planners or {}), text_limits

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        order = list(range(len(samples)))
        if "words" in samples[0]:
            order.sort(key=lambda place: len(samples[place]["words"]))
        samples = [samples[place] for place in order]
        batch: dict[str, Any] = {
            "order": order,
            "keys": np.array([sample["key"] for sample in samples], dtype=np.uint64),
            "sample_ids": [sample["sample_id"] for sample in samples],
        }
        if "image" in samples[0]:
            # The order of bytes (height, width, channel) is the decoder's, and copying in it is fast.
            images = torch.stack([sample["image"].permute(1, 2, 0) for sample in samples])
            batch["images"] = images.permute(0, 3, 1, 2)
            batch["image_ids"] = np.array([sample["image_id"] for sample in samples], dtype=np.uint64)
        if "words" in samples[0]:
            words = [sample["words"] for sample in samples]
            batch["words"] = torch.from_numpy(np.concatenate(words))
            batch["word_counts"] = np.array([len(text) for text in words], dtype=np.int64)
            batch["positions"] = torch.from_numpy(np.concatenate([np.arange(len(text)) for text in words]))
            batch["text_ids"] = np.array([key_of(text.tobytes().hex()) for text in words], dtype=np.uint64)
            self._check_texts(batch)
        if "label" in samples[0]:
            batch["labels"] = torch.from_numpy(np.array([sample["label"] for sample in samples]))
        if "annotations" in samples[0]:
            batch["annotations"] = [sample["annotations"] for sample in samples]
        batch["plans"] = {name: planner(batch) for name, planner in self.planners.items()}
        return batch

    def _check_texts(self, batch: dict[str, Any]) -> None:
        if self.text_limits is None:
            return
        longest, vocabulary = self.text_limits
        if batch["word_counts"].max() > longest:
            raise ValueError(
                f"a text of {batch['word_counts'].max()} word pieces is longer than model.backbone.max_text_len="
                f"{longest}: lower max_len of Tokenize or raise it"
            )
        if int(batch["words"].max()) >= vocabulary:
            raise ValueError(
                f"word piece {int(batch['words'].max())} is beyond model.backbone.vocab_size={vocabulary}: "
                "the tokenizer is not the model's"
            )
