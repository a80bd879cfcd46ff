"""Index tables against sequences built token by token from lists."""

import numpy as np
import pytest
import torch

from momo.ops import plan_pairs, plan_sequences

CLS = -1
CASES = {
    "images": (3, 4, [0, 0, 0]),
    "texts": (4, 0, [2, 1, 5, 2]),
    "pairs": (3, 4, [2, 5, 1]),
    "equal pairs": (2, 3, [3, 3]),
    "one": (1, 2, [1]),
}


def slow_sequences(batch: int, patches: int, counts: list[int], hidden: set[int]) -> tuple[list, list]:
    """Full and visible sequences as lists of tokens: patches are 0, 1, ..., words 1000, 1001, ..., CLS is -1."""
    full, visible, word = [], [], 1000
    for index in range(batch):
        sequence = [CLS, *range(index * patches, (index + 1) * patches), *range(word, word + counts[index])]
        word += counts[index]
        full.append(sequence)
        visible.append([token for token in sequence if token not in hidden])
    return full, visible


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("batch", "patches", "counts"), CASES.values(), ids=CASES)
def test_plan_equals_the_slow_construction(batch: int, patches: int, counts: list[int], masked: bool) -> None:
    rng = np.random.default_rng(0)
    hidden_patches = rng.random(batch * patches) < 0.6 if masked else None
    hidden_words = rng.random(sum(counts)) < 0.5 if masked else None
    hidden = set(np.flatnonzero(hidden_patches)) | set(1000 + np.flatnonzero(hidden_words)) if masked else set()
    full, visible = slow_sequences(batch, patches, counts, hidden)

    encode, decode = plan_sequences(batch, patches, np.array(counts), hidden_patches, hidden_words)
    all_patches, all_words = torch.arange(batch * patches), 1000 + torch.arange(sum(counts))
    table = torch.cat([torch.tensor([CLS]), all_patches[encode.patches], all_words[encode.words]])
    assert table[encode.assemble].tolist() == sum(visible, [])
    assert encode.layout.lengths == tuple(map(len, visible))

    flat = sum(full, [])
    assert decode.layout.lengths == tuple(map(len, full))
    assert [flat[row] for row in decode.visible] == sum(visible, [])
    assert decode.positions.tolist() == [place for sequence in full for place in range(len(sequence))]
    assert [flat[row] for row in decode.hidden_patch_rows] == decode.hidden_patches.tolist()
    assert [flat[row] - 1000 for row in decode.hidden_word_rows] == decode.hidden_words.tolist()
    assert set(decode.hidden_patches.tolist()) | {1000 + word for word in decode.hidden_words.tolist()} == hidden


def test_hiding_nothing_is_the_same_as_no_mask() -> None:
    counts = np.array([2, 3])
    plain = plan_sequences(2, 4, counts)
    masked = plan_sequences(2, 4, counts, np.zeros(8, dtype=bool), np.zeros(5, dtype=bool))
    for first, second in zip(sum(map(tuple, plain), ()), sum(map(tuple, masked), ()), strict=True):
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_everything_but_cls_may_be_hidden() -> None:
    encode, decode = plan_sequences(2, 3, np.array([1, 0]), np.ones(6, dtype=bool), np.ones(1, dtype=bool))
    assert encode.layout.lengths == (1, 1)
    assert encode.assemble.tolist() == [0, 0]
    assert decode.visible.tolist() == [0, 5]


def test_pairs_equal_the_slow_construction() -> None:
    patches, counts = 3, np.array([4, 1, 2, 1])
    images, texts = np.array([0, 1, 2, 3, 2, 0]), np.array([0, 1, 2, 3, 0, 3])
    words = np.split(1000 + np.arange(counts.sum()), np.cumsum(counts)[:-1])
    slow = [
        [CLS, *range(image * patches, (image + 1) * patches), *words[text]]
        for image, text in zip(images, texts, strict=True)
    ]
    by_length = sorted(range(len(slow)), key=lambda pair: len(slow[pair]))  # sorted() is stable too

    rows, layout, order = plan_pairs(images, texts, patches, counts)
    table = torch.cat([torch.tensor([CLS]), torch.arange(4 * patches), 1000 + torch.arange(int(counts.sum()))])
    assert order.tolist() == by_length
    assert table[rows].tolist() == sum((slow[pair] for pair in by_length), [])
    assert layout.lengths == tuple(len(slow[pair]) for pair in by_length)


def test_refuses_masks_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"hidden_patches must hold 8 values, got shape \(7,\)"):
        plan_sequences(2, 4, np.array([1, 1]), hidden_patches=np.zeros(7, dtype=bool))
    with pytest.raises(ValueError, match=r"hidden_words must hold 2 values, got shape \(3,\)"):
        plan_sequences(2, 4, np.array([1, 1]), hidden_words=np.zeros(3, dtype=bool))
