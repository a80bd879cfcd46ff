"""Show which regions of a picture, and which words, a guess rests on (the paper's Figure 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from momo.models import CMM, MoMoPretrainer
from momo.models.pretrainers import find_objective
from momo.ops import AttentionMaps, grid_size, keyed_generator, patchify, relevance_of_visible

from .base import Inferencer
from .fill_mask import Guess, blank_batch, blank_log_probabilities, predict_blanks
from .inputs import ImageSource, as_list, as_texts, one_each


class Explanation(NamedTuple):
    """What the probability of a word in place of [MASK] rests on.

    guess: the likeliest word. explained: the word that this is about, the guess if no other was asked for. patches
    (rows, columns), words (T,): relevance, never negative and comparable within one explanation; the hidden word itself
    has none. pieces: the T word pieces.
    """

    guess: Guess
    explained: Guess
    patches: Tensor
    words: Tensor
    pieces: list[str]


class DeletionTest(NamedTuple):
    """By how many nats the log-probability of the word falls when a patch is hidden from the encoder.

    Shapes: (P,), a number a caption. relevant: without the most relevant patch. random: without one at random, the mean
    of several. random_shown: without one at random that shows something, not one plain colour.
    """

    relevant: Tensor
    random: Tensor
    random_shown: Tensor


@torch.enable_grad()
def explain_word(model: MoMoPretrainer, image: Tensor, caption: str, tokenizer, word: str | None = None) -> Explanation:
    """Guess the hidden word of a caption, and say which patches and words the guess rests on.

    The encoder reads the patches and the visible words; the decoder attends from the mask token of the hidden word to
    what the encoder made of them. Relevance is followed through both, for the logit of the word.

    Args:
        caption: With exactly one [MASK].
        tokenizer: As `momo.datasets.load_tokenizer` returns it.
        word: The word piece to explain, likeliest or not; None is the likeliest.
    Shapes: image (3, H, W) uint8; the results are on the CPU.
    Raises: ValueError if the model has no cross-modal objective, the caption not one [MASK] within the longest length,
        or the vocabulary no such word.
    Source: `momo.ops.relevance`; the cited authors take the gradient of the logit too.
    """
    found = find_objective(model, CMM)
    batch = {**_one_blank(model, [caption], tokenizer), "images": image[None]}
    with _keeping_activations(model.backbone, found.decoder), AttentionMaps() as recorded:
        logits, plan = predict_blanks(model, found, batch)
        chosen = int(logits.argmax()) if word is None else _id_of(word, tokenizer)
        gradients = torch.autograd.grad(logits[0, chosen], recorded.maps)
    layers = [(a[0].detach(), g[0]) for a, g in zip(recorded.maps, gradients, strict=True)]
    depth, visible = model.backbone.num_layers, plan.decode.visible
    full = relevance_of_visible(layers[:depth], layers[depth:], visible, plan.decode.layout.num_tokens)
    of_word = full[plan.decode.hidden_word_rows[0]]

    rows, columns = grid_size(*image.shape[-2:], model.backbone.patch_size)
    by_token = of_word.new_zeros(len(full)).index_copy(0, visible, of_word).cpu()  # [CLS], patches, words
    probabilities = logits[0].detach().softmax(-1)
    guess, explained = (
        Guess(tokenizer.convert_ids_to_tokens(row), float(probabilities[row]))
        for row in (int(probabilities.argmax()), chosen)
    )
    pieces = tokenizer.convert_ids_to_tokens(batch["words"].tolist())
    patches, words = by_token[1:].split([rows * columns, len(pieces)])
    return Explanation(guess, explained, patches.view(rows, columns), words, pieces)


def deletion_test(
    model: MoMoPretrainer,
    images: Sequence[Tensor],
    captions: Sequence[str],
    tokenizer,
    words: Sequence[str | None],
    draws: int = 8,
) -> DeletionTest:
    """Does hiding the most relevant patch hurt the word more than hiding a patch at random?

    Where relevance says nothing, the three differ by chance only. Plain background is easy to beat, so patches that
    show something are drawn apart as well.

    Args:
        captions: Each with exactly one [MASK].
        words: The word that each is asked about; None is the likeliest.
        draws: Random patches a caption, a function of its place in the list.
    Shapes: images, one a caption, each (3, H, W) uint8, all of one size.
    Raises: ValueError as `explain_word`, or if images, captions and words differ in number.
    """
    if not len(images) == len(captions) == len(words):
        raise ValueError(
            f"each caption needs its image and its word, got {len(images)} images, {len(captions)} captions and "
            f"{len(words)} words"
        )
    found, rows = find_objective(model, CMM), []
    for index, (image, caption, word) in enumerate(zip(images, captions, words, strict=True)):
        explanation = explain_word(model, image, caption, tokenizer, word)
        chosen, relevance = _id_of(explanation.explained.word, tokenizer), explanation.patches.flatten()
        shown = np.flatnonzero(_shows_something(image, model.backbone.patch_size).numpy())
        generator = keyed_generator("deletion test", index)
        hidden = [int(relevance.argmax()), *generator.choice(len(relevance), draws)]
        hidden += generator.choice(shown if shown.size else len(relevance), draws).tolist()
        masks = np.zeros((1 + len(hidden), len(relevance)), dtype=bool)  # the first hides nothing
        masks[np.arange(1, len(masks)), hidden] = True
        batch = _one_blank(model, [caption] * len(masks), tokenizer)
        batch["images"] = image.expand(len(masks), *image.shape)
        whole, without = blank_log_probabilities(model, found, batch, masks.ravel())[:, chosen].tensor_split([1])
        drops = whole - without
        rows.append([drops[0], drops[1 : 1 + draws].mean(), drops[1 + draws :].mean()])
    return DeletionTest(*torch.tensor(rows).unbind(1))


class ExplanationInferencer(Inferencer):
    """Captions with one [MASK] to the word behind it, and to what in image and caption it was guessed from.

    `heat_map` makes a picture of it. See Inferencer.
    """

    needs = (CMM,)

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        captions: str | Sequence[str],
        words: str | Sequence[str | None] | None = None,
    ) -> list[Explanation]:
        """Explain a word for each image and caption.

        Args:
            words: The word to explain for each; None takes the likeliest.
        Raises: ValueError as `explain_word`, for an image that cannot be read, or if their numbers differ.
        """
        images, captions = as_list(images, "images"), as_texts(captions, "captions")
        words = [None] * len(images) if words is None else as_list(words, "words")
        one_each(images, captions, ("images", "captions"))
        one_each(images, words, ("images", "words"))
        pixels = (image for batch in self.read(images, 8, "explain") for image in batch)
        return [
            explain_word(self.model, *asked, self.tokenizer, word)
            for *asked, word in zip(pixels, captions, words, strict=True)
        ]


def _id_of(word: str, tokenizer) -> int:
    found = tokenizer.convert_tokens_to_ids(word)
    if found == tokenizer.unk_token_id and word != tokenizer.unk_token:
        raise ValueError(f"word={word!r} is no word piece of the vocabulary")
    return found


def _one_blank(model: MoMoPretrainer, captions: Sequence[str], tokenizer) -> dict:
    for caption in captions:
        if caption.count(tokenizer.mask_token) != 1:
            raise ValueError(f"{caption!r} needs exactly one {tokenizer.mask_token}: one guess is explained at a time")
    return blank_batch(model, captions, tokenizer)


def _shows_something(image: Tensor, patch_size: int) -> Tensor:
    """Which patches are not one plain colour: (L,) bool. Channels may differ, pixels may not."""
    patches = patchify(image[None], patch_size)[0].unflatten(-1, (image.shape[0], -1))
    return (patches != patches[..., :1]).flatten(1).any(1)


@contextmanager
def _keeping_activations(*modules: nn.Module) -> Iterator[None]:
    """Turn `with_cp` off for a while: what is computed again in backward would leave its attention maps twice."""
    before = [module.with_cp for module in modules]
    try:
        for module in modules:
            module.with_cp = False
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.with_cp = value
