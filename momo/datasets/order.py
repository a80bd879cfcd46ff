"""In which order an epoch visits the samples: functions of (seed, epoch) that can be entered at any step.

Two orders. `FullOrder` shuffles single samples, for data where a read costs the same wherever it lands.
`PiecewiseOrder` is for data that lie in shards: it reads pieces of neighbouring samples and mixes many of them. Both
answer the same question, which samples stand at places first to last of a global batch, and neither knows of ranks or
workers.
"""

from __future__ import annotations

import math

import numpy as np

from momo.ops import keyed_generator

# Our choices; changing one changes the order of every run that resumes. See PiecewiseOrder.
LANES = 64  # a power of two: the paper's number of processes, so that each has a lane
TURNS = 8  # steps that take turns: a loader's worker of 1, 2, 4 or 8 meets its own streams only
PIECE = 128  # neighbouring samples that are read together: 8 MB of photos of 60 KB
WINDOW = 512  # samples, at least, that are mixed within a stream


class FullOrder:
    """permutation(seed, epoch) of all samples, 4 bytes a sample; batches are slices of it."""

    def __init__(self, size: int, batch: int, seed: int, epoch: int) -> None:
        dtype = np.int32 if size < 2**31 else np.int64
        self.batch = batch
        self.order = keyed_generator(seed, "order", epoch).permutation(np.arange(size, dtype=dtype))

    def take(self, step: int, first: int, last: int) -> np.ndarray:
        """Samples at places first to last of the epoch's global batch `step`, (last - first,)."""
        return self.order[step * self.batch + first : step * self.batch + last]


def cut(chunks: np.ndarray, piece: int = PIECE) -> np.ndarray:
    """Bounds (P + 1,) of pieces of at most `piece` samples, none of which lies in two chunks.

    Shapes: chunks (C + 1,), where each chunk starts, and the number of samples.
    """
    counts = -(-np.diff(chunks) // piece)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(chunks[:-1], counts) + piece * (np.arange(len(before)) - before)
    return np.append(starts, chunks[-1])


class PiecewiseOrder:
    """A shuffle of pieces, then of samples, that leaves reads large and whole.

    1. All pieces, in the order permutation(seed, epoch), lie back to back on one line of samples.
    2. The line is cut into L lanes, and each lane into T streams, one a turn. A step belongs to the turn step mod T,
       and takes an equal share of each lane's stream of that turn, lane after lane. L is the largest power of two, up
       to 64, that divides the global batch; T is 8.
    3. A stream is read through windows of at least 512 of its samples (four pieces and more), shuffled by
       permutation(seed, epoch, stream, window).

    So a piece belongs to one stream, or to two where the cut falls into it, and is used up within one or two windows.
    Processes take slices of the global batch, which are whole lanes if their number divides L; a loader's W workers
    take steps in turn, which are whole turns if W divides T. Then no two of them read the same piece, but for the cuts.
    With other numbers the order is the same and pieces are read by several: by W / gcd(W, T) workers, and by two
    processes where a lane is shared.

    What it is not: a uniform shuffle. Samples of one piece come within two windows of each other, 2 x T x 512 / share
    steps, and a batch holds samples of about four pieces a lane, where a full shuffle holds one of each.
    benchmarks/scale_simulation.py measures both. Memory is 16 bytes a piece; entering anywhere costs a permutation of
    the pieces, and a batch one of a window for each lane.

    Args:
        pieces: Bounds (P + 1,), see `cut`.
        batch: Samples of a global batch.
    """

    def __init__(self, pieces: np.ndarray, batch: int, seed: int, epoch: int) -> None:
        order = keyed_generator(seed, "pieces", epoch).permutation(len(pieces) - 1)
        lengths = np.diff(pieces)[order]
        ends = np.cumsum(lengths)
        self.ends, self.shifts = ends, pieces[order] - (ends - lengths)  # sample = place on the line + shift
        self.lanes = math.gcd(batch, LANES)
        self.share = batch // self.lanes  # samples of a lane and step
        self.window = -(-WINDOW // self.share)  # steps of a turn
        self.steps, self.seed, self.epoch = int(pieces[-1]) // batch, seed, epoch

    def take(self, step: int, first: int, last: int) -> np.ndarray:
        """Samples at places first to last of the epoch's global batch `step`, (last - first,)."""
        lanes = range(first // self.share, -(-last // self.share))
        line = np.concatenate([self._of_lane(step, lane) for lane in lanes])
        line = line[first - lanes[0] * self.share :][: last - first]
        return line + self.shifts[np.searchsorted(self.ends, line, side="right")]

    def _of_lane(self, step: int, lane: int) -> np.ndarray:
        """Places on the line, (share,)."""
        turn, row = step % TURNS, step // TURNS
        rows = len(range(turn, self.steps, TURNS))  # steps of this turn, which its streams are long
        earlier = turn * (self.steps // TURNS) + min(turn, self.steps % TURNS)  # steps of the turns before it
        start = (lane * self.steps + earlier) * self.share
        window, place = divmod(row, self.window)
        begin, end = window * self.window, min((window + 1) * self.window, rows)
        draw = keyed_generator(self.seed, "window", self.epoch, turn, lane, window)
        mixed = draw.permutation((end - begin) * self.share)
        return start + begin * self.share + mixed[place * self.share : (place + 1) * self.share]
