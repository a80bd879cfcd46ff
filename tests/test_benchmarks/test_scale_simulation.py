"""The simulation in small: its figures are what they are called."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import scale_simulation as simulation  # noqa: E402

BATCH = 64
MB = simulation.MB


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("index")
    simulation.write_index(folder, pairs=24_000, shards=40)
    return simulation.open_index(folder)


def test_index_tells_where_samples_lie(index: dict[str, np.ndarray]) -> None:
    chunks, sizes, starts = index["chunks"], index["sizes"], index["starts"]
    assert chunks[0] == 0 and chunks[-1] == len(sizes) == 24_000 and len(chunks) == 41
    for first, last in zip(chunks[:-1], chunks[1:], strict=True):
        assert starts[first] == 0
        assert np.array_equal(starts[first + 1 : last], np.cumsum(sizes[first : last - 1], dtype=np.int64))


@pytest.mark.parametrize("in_pieces", [True, False])
def test_blocks_of_a_byte_are_read_without_waste(index: dict[str, np.ndarray], in_pieces: bool) -> None:
    small = {**index, "sizes": np.full_like(index["sizes"], 3), "starts": 3 * np.arange(24_000)}
    assert simulation.amplification(small, BATCH, in_pieces, ranks=8, workers=2, block=1, cache=100) == 1


def test_pieces_spare_reads_and_a_full_permutation_mixes_more(index: dict[str, np.ndarray]) -> None:
    settings = dict(ranks=1, workers=1, block=MB, cache=10**4 * MB)
    assert simulation.amplification(index, BATCH, True, **settings) < 1.1  # everything is kept
    settings = dict(ranks=8, workers=8, block=MB, cache=256 * MB)
    pieces, full = (simulation.amplification(index, BATCH, in_pieces, **settings) for in_pieces in (True, False))
    assert pieces < 2 and full > 10
    pieces, full = (simulation.quality(index, BATCH, in_pieces) for in_pieces in (True, False))
    assert pieces["visited once"] == full["visited once"] == 1
    assert abs(full["rank correlation"]) < 0.02 and full["jump"] == pytest.approx(1, abs=0.05)
    assert full["neighbours meet after"] == pytest.approx(1 - 0.5**0.5, abs=0.02)
    assert min(pieces["distinct shards"], full["distinct shards"]) > 20  # of 40, in batches of 64
