"""Keys, counts and masks."""

import hashlib

import numpy as np
import pytest

from momo.ops import key_of, keyed_generator, num_hidden, random_masking


def test_keys_never_change() -> None:
    """Runs resumed on another machine, or years later, must draw the same: these numbers are part of the format."""
    assert key_of(0, 0, 0) == 9617123944752223253
    assert key_of(1, "order", 2) == 4500233052550118309
    assert key_of("image/mim") == 2668595363835142868


def test_key_is_a_function_of_the_text_of_its_parts() -> None:
    digest = hashlib.blake2b(b"7/step/3", digest_size=8).digest()
    assert key_of(7, "step", 3) == int.from_bytes(digest, "little")
    assert key_of(np.int64(7), "step", np.uint64(3)) == key_of(7, "step", 3)
    keys = {key_of(seed, epoch, index) for seed in range(5) for epoch in range(20) for index in range(20)}
    assert len(keys) == 5 * 20 * 20
    assert all(0 <= key < 2**64 for key in keys)


def test_keyed_generator_never_changes() -> None:
    assert keyed_generator(1, "order", 2).permutation(6).tolist() == [3, 2, 5, 0, 1, 4]
    np.testing.assert_array_equal(keyed_generator(3, "a").random(4), keyed_generator(3, "a").random(4))
    assert keyed_generator(3, "a").random() != keyed_generator(3, "b").random()


@pytest.mark.parametrize(
    ("length", "ratio", "hidden"),
    [
        (196, 0.75, 147),  # MAE's grid
        (100, 0.9, 90),  # int(100 * (1 - 0.9)) would keep 9
        (1, 0.75, 0),  # nothing left to see it by
        (2, 0.75, 1),
        (2, 0.15, 1),  # at least one where anything is hidden
        (12, 0.15, 2),
        (3, 0.9, 2),  # 2.7 rounds to all of them
        (10, 0.0, 0),
    ],
)
def test_counts_by_hand(length: int, ratio: float, hidden: int) -> None:
    assert num_hidden(np.array([length]), ratio).tolist() == [hidden]


@pytest.mark.parametrize("ratio", [0.0, 0.15, 0.5, 0.75, 0.99])
def test_hides_the_smallest_noise_of_each_sequence(ratio: float) -> None:
    lengths = np.array([7, 1, 12, 2, 7])
    noise = np.random.default_rng(0).random(lengths.sum())
    mask = random_masking(lengths, ratio, noise)
    start = 0
    for length, hidden in zip(lengths, num_hidden(lengths, ratio), strict=True):
        own, values = mask[start : start + length], noise[start : start + length]
        assert set(np.flatnonzero(own)) == set(np.argsort(values)[:hidden])
        start += length


def test_a_sequence_is_masked_without_regard_to_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.random(length) for length in (5, 9, 3)]
    alone = [random_masking(np.array([len(part)]), 0.5, part) for part in parts]
    together = random_masking(np.array([5, 9, 3]), 0.5, np.concatenate(parts))
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_masks_are_uniform() -> None:
    """Each of 6 positions is hidden in half of 4,000 draws: within 5 standard deviations."""
    count, length = 4000, 6
    noise = np.random.default_rng(2).random(count * length)
    share = random_masking(np.full(count, length), 0.5, noise).reshape(count, length).mean(0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / count**0.5


def test_no_sequences_give_an_empty_mask() -> None:
    assert random_masking(np.zeros(0, dtype=np.int64), 0.5, np.zeros(0)).shape == (0,)


def test_refuses_impossible_ratios_lengths_and_noise() -> None:
    for ratio in (-0.1, 1.0, 1.5):
        with pytest.raises(ValueError, match=rf"mask_ratio must lie in \[0, 1\), got {ratio}"):
            num_hidden(np.array([4]), ratio)
        with pytest.raises(ValueError, match="mask_ratio"):
            random_masking(np.array([4]), ratio, np.zeros(4))
    with pytest.raises(ValueError, match="at least one token, got 0"):
        num_hidden(np.array([4, 0]), 0.5)
    with pytest.raises(ValueError, match=r"6 tokens need as many noise values, got shape \(5,\)"):
        random_masking(np.array([4, 2]), 0.5, np.zeros(5))
