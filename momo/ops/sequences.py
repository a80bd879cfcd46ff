"""From masks to index tables: how patches and words become sequences, and sequences their visible parts.

Drawn up on the host while a batch is collated, so that a training step only looks rows up. One function serves images
(no words), text (no patches) and pairs, because a sequence is always [CLS], then patches, then words.

Legend: B sequences, L patches each (0 for text), T words in all, N tokens of all full sequences, V visible ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .packing import SequenceLayout


class EncodePlan(NamedTuple):
    """Which tokens the encoder sees, and where they lie.

    patches: rows of the flat (B * L) patches that are visible. words: rows of the (T,) words that are visible.
    assemble (V,): rows of [CLS token; visible patches; visible words] in the order of the packed sequences.
    """

    patches: Tensor
    words: Tensor
    assemble: Tensor
    layout: SequenceLayout


class DecodePlan(NamedTuple):
    """How the decoder restores full sequences from encoded visible tokens, and what it is asked to predict.

    layout: the full sequences. visible (V,): their rows that the encoder saw, in order. positions (N,): 0 for [CLS],
    1 to L for patches, L + 1 + t for word t. hidden_patches / hidden_words: rows of the flat patches / words that were
    hidden; hidden_patch_rows / hidden_word_rows: where these lie in the full sequences.
    """

    layout: SequenceLayout
    visible: Tensor
    positions: Tensor
    hidden_patches: Tensor
    hidden_patch_rows: Tensor
    hidden_words: Tensor
    hidden_word_rows: Tensor


def _full_sequences(batch: int, num_patches: int, word_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each token of [CLS] patches words: its position id, and its row among [patches of all; words of all] (-1:
    CLS).
    """
    lengths = 1 + num_patches + word_counts
    starts = np.cumsum(lengths) - lengths
    position = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    owner = np.repeat(np.arange(batch), lengths)
    word_starts = np.cumsum(word_counts) - word_counts
    patch_row = owner * num_patches + position - 1
    word_row = batch * num_patches + word_starts[owner] + position - 1 - num_patches
    source = np.where(position > num_patches, word_row, patch_row)
    source[position == 0] = -1
    return position, source


def plan_sequences(
    batch: int,
    num_patches: int,
    word_counts: np.ndarray,
    hidden_patches: np.ndarray | None = None,
    hidden_words: np.ndarray | None = None,
) -> tuple[EncodePlan, DecodePlan]:
    """Lay out `batch` sequences of [CLS], patches, words, and their visible parts.

    Shapes: word_counts (B,); hidden_patches (B * L,), hidden_words (T,), bool, True = hidden; None hides nothing.
    Args:
        num_patches: Patches in each image, 0 for text alone.
        word_counts: Words in each sequence, zeros for images alone.
    Raises: ValueError if a mask has another length than what it masks.
    """
    word_counts = np.asarray(word_counts, dtype=np.int64)
    total_patches, total_words = batch * num_patches, int(word_counts.sum())
    hidden = np.zeros(total_patches + total_words + 1, dtype=bool)  # the last entry is [CLS], never hidden
    for name, mask, rows in (
        ("hidden_patches", hidden_patches, slice(0, total_patches)),
        ("hidden_words", hidden_words, slice(total_patches, total_patches + total_words)),
    ):
        if mask is None:
            continue
        if mask.shape != (rows.stop - rows.start,):
            raise ValueError(f"{name} must hold {rows.stop - rows.start} values, got shape {mask.shape}")
        hidden[rows] = mask

    position, source = _full_sequences(batch, num_patches, word_counts)
    is_hidden = hidden[source]
    visible = np.flatnonzero(~is_hidden)
    lengths = 1 + num_patches + word_counts
    owner = np.repeat(np.arange(batch), lengths)
    visible_lengths = np.bincount(owner[visible], minlength=batch)

    kept = np.flatnonzero(~hidden[:-1])
    place = np.zeros(hidden.size, dtype=np.int64)  # of a kept row among [CLS; kept patches; kept words]; [CLS] is 0
    place[kept] = 1 + np.arange(kept.size)
    is_word = position > num_patches
    patch_rows, word_rows = np.flatnonzero(is_hidden & ~is_word), np.flatnonzero(is_hidden & is_word)

    encode = EncodePlan(
        patches=torch.from_numpy(kept[kept < total_patches]),
        words=torch.from_numpy(kept[kept >= total_patches] - total_patches),
        assemble=torch.from_numpy(place[source[visible]]),
        layout=SequenceLayout.ragged(visible_lengths),
    )
    decode = DecodePlan(
        layout=SequenceLayout.ragged(lengths),
        visible=torch.from_numpy(visible),
        positions=torch.from_numpy(position),
        hidden_patches=torch.from_numpy(source[patch_rows]),
        hidden_patch_rows=torch.from_numpy(patch_rows),
        hidden_words=torch.from_numpy(source[word_rows] - total_patches),
        hidden_word_rows=torch.from_numpy(word_rows),
    )
    return encode, decode


def plan_subset(
    encode: EncodePlan, decode: DecodePlan, chosen: np.ndarray, num_patches: int, word_counts: np.ndarray
) -> tuple[EncodePlan, DecodePlan]:
    """Turn the plan of some sequences of a batch into one that looks their patches and words up in the whole batch.

    Shapes: chosen (S,), the places of the planned sequences in a batch of B; word_counts (B,).
    """
    starts = np.cumsum(word_counts) - word_counts
    patches = torch.from_numpy((chosen[:, None] * num_patches + np.arange(num_patches)).ravel())
    words = torch.from_numpy(
        np.concatenate([np.arange(starts[i], starts[i] + word_counts[i], dtype=np.int64) for i in chosen])
    )
    return (
        encode._replace(patches=patches[encode.patches], words=words[encode.words]),
        decode._replace(hidden_patches=patches[decode.hidden_patches], hidden_words=words[decode.hidden_words]),
    )


def plan_pairs(
    image_index: np.ndarray, text_index: np.ndarray, patches_per_image: int, word_counts: np.ndarray
) -> tuple[Tensor, SequenceLayout, np.ndarray]:
    """Lay out chosen (image, text) pairs, each [CLS], the image's visible patches, the text's words; sorted by length.

    Shapes: image_index, text_index (P,) choose among B images with `patches_per_image` visible patches and B texts of
    word_counts (B,).
    Returns: rows of [CLS token; patches of all images; words of all texts], the layout, and the order (P,) in which the
        pairs now lie.
    """
    counts = word_counts[text_index]
    order = np.argsort(counts, kind="stable")
    image_index, text_index, counts = image_index[order], text_index[order], counts[order]
    word_starts = np.cumsum(word_counts) - word_counts
    lengths = 1 + patches_per_image + counts
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    patch = 1 + np.repeat(image_index, lengths) * patches_per_image + position - 1
    word = (
        1
        + word_counts.size * patches_per_image
        + np.repeat(word_starts[text_index], lengths)
        + (position - 1 - patches_per_image)
    )
    rows = np.where(position > patches_per_image, word, patch)
    rows[position == 0] = 0
    return torch.from_numpy(rows), SequenceLayout.ragged(lengths), order
