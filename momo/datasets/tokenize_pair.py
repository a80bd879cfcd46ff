"""Texts and pairs of texts for fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np

from momo.registry import TRANSFORMS

from .transforms import load_tokenizer, word_pieces


@TRANSFORMS.register_module()
class TokenizePair:
    """Cut sample['text'], and sample['text_pair'] if it is there, into sample['words'] (T,) int64: A [SEP] B.

    The encoder adds its own [CLS]; nothing reads a last [SEP], so there is none. Unlike Tokenize, which reads long
    texts through a random window, this one keeps their beginnings: of a pair, pieces are taken off the end of the
    longer text until both fit.

    Args:
        tokenizer: Folder of a BERT tokenizer.
        max_len: Longest sequence in word pieces, [SEP] included.
    Raises: ValueError for a max_len below 3, and naming the sample if a text is not a string.
    Source: 'longest first' truncation as in BERT's fine-tuning code (Devlin et al. 2019, arXiv:1810.04805).
    """

    def __init__(self, tokenizer: str, max_len: int = 128) -> None:
        if max_len < 3:
            raise ValueError(f"max_len={max_len} has no room for a word, [SEP] and a word")
        self.max_len = max_len
        self.tokenizer = load_tokenizer(tokenizer)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        first = self._pieces(sample, "text")
        if "text_pair" not in sample:
            words = first[: self.max_len]
        else:
            second = self._pieces(sample, "text_pair")
            keep_first, keep_second = longest_first(len(first), len(second), self.max_len - 1)
            words = [*first[:keep_first], self.tokenizer.sep_token_id, *second[:keep_second]]
        sample["words"] = np.array(words, dtype=np.int64)
        return sample

    def _pieces(self, sample: dict[str, Any], key: str) -> list[int]:
        if not isinstance(sample[key], str):
            raise ValueError(f"{sample['sample_id']}: {key} is {sample[key]!r}, not a string")
        return word_pieces(sample[key], self.tokenizer)


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many pieces of each text stay so that both fit into `room`: the longer one gives way, piece by piece."""
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (room - shorter, shorter) if first > second else (shorter, room - shorter)
