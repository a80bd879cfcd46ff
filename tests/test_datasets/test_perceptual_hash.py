"""Pictures that look alike have hashes that are near; the search for these is exact."""

import numpy as np
import pytest
import torch
from torchvision.io import decode_jpeg, encode_jpeg
from torchvision.transforms.v2 import functional

from momo.datasets.perceptual_hash import FLAT, near_pairs, perceptual_hash


def picture(seed: int, height: int = 240, width: int = 320) -> torch.Tensor:
    """Smooth shapes, as photos have them: noise whose amplitude falls with its frequency."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(3, height, width // 2 + 1)) * np.exp(2j * np.pi * rng.random((3, height, width // 2 + 1)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.arange(width // 2 + 1)) + 1
    image = np.fft.irfft2(waves / frequency**1.5, s=(height, width))
    low, high = image.min(), image.max()
    return torch.from_numpy(((image - low) / (high - low) * 255).astype(np.uint8))


def distance(first: torch.Tensor, second: torch.Tensor) -> int:
    return (perceptual_hash(first) ^ perceptual_hash(second)).bit_count()


def test_hash_by_the_formula() -> None:
    """Of a picture that needs no scaling: sums of cosines, written out; the first bit is the highest."""
    image = picture(0, 32, 32)
    grey = 0.299 * image[0].double() + 0.587 * image[1].double() + 0.114 * image[2].double()
    wave = torch.cos(torch.pi / 32 * torch.outer(torch.arange(1, 9), torch.arange(32) + 0.5)).double()
    found = torch.einsum("ua,ab,vb->uv", wave, grey, wave).flatten()
    bits = "".join("1" if value > found.median() + 1e-9 or value > found.sort()[0][31] else "0" for value in found)
    assert perceptual_hash(image) == int(bits, 2) and bits.count("1") == 32


def test_copies_are_near_and_others_far() -> None:
    images = [picture(seed) for seed in range(12)]
    for image in images:
        changed = {
            "half": functional.resize(image, [120, 160], antialias=True),
            "other aspect": functional.resize(image, [200, 200], antialias=True),
            "jpeg": decode_jpeg(encode_jpeg(image, quality=40)),
            "darker": (image * 0.8).to(torch.uint8),
        }
        assert {name: distance(image, other) for name, other in changed.items() if distance(image, other) > 6} == {}
    apart = [distance(a, b) for number, a in enumerate(images) for b in images[:number]]
    assert min(apart) > 12 and 26 < np.mean(apart) < 38  # unrelated bits agree half the time


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_pictures_of_one_colour_have_no_shape(level: int) -> None:
    assert perceptual_hash(torch.full((3, 50, 70), level, dtype=torch.uint8)) == FLAT


@pytest.mark.parametrize("max_distance", [0, 1, 3, 4, 9, 15])
def test_search_equals_comparing_all(max_distance: int) -> None:
    rng = np.random.default_rng(max_distance)
    queries = rng.integers(0, 2**64, 300, dtype=np.uint64)
    flips = rng.random((200, 64)) < rng.random((200, 1)) * 0.3
    noise = (flips.astype(np.uint64) << np.arange(64, dtype=np.uint64)).sum(1, dtype=np.uint64)
    references = rng.choice(queries, 200) ^ noise
    expected = np.nonzero(np.bitwise_count(queries[:, None] ^ references) <= max_distance)
    found = near_pairs(queries, references, max_distance)
    assert len(expected[0]) > 5
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


def test_search_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = np.repeat(np.arange(4, dtype=np.uint64), 50)
    whole = near_pairs(queries, queries, 1)
    monkeypatch.setattr("momo.datasets.perceptual_hash._CHUNK", 70)
    parts = near_pairs(queries, queries, 1)
    assert len(whole[0]) == 3 * 4 * 50 * 50 and all(np.array_equal(*pair) for pair in zip(whole, parts, strict=True))


def test_search_limits() -> None:
    empty = np.empty(0, dtype=np.uint64)
    assert [len(part) for part in near_pairs(empty, np.arange(3, dtype=np.uint64), 2)] == [0, 0]
    assert [len(part) for part in near_pairs(np.arange(3, dtype=np.uint64), empty, 2)] == [0, 0]
    for wrong in (-1, 16):
        with pytest.raises(ValueError, match=f"max_distance must lie in 0 to 15, got {wrong}"):
            near_pairs(empty, empty, wrong)
