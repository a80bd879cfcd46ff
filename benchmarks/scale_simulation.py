"""Order and index at the paper's size and beyond, without the data: 27 million pairs in 10,000 shards of made-up sizes.

python benchmarks/scale_simulation.py --out work_dirs/scale_simulation.json

Writes an index as a reader of tars has it (where each sample begins, how long it is), opens it as 8 processes of a node
do, seeks, and lets simulated workers read. It compares the order in pieces with a full permutation:

- read amplification: bytes that a worker fetches, in blocks, for each byte that it uses. It keeps the last blocks.
- distinct shards, largest share: how many shards a global batch is drawn from, and how much of it comes from one.
- rank correlation: of a sample's number with the time of its visit (Spearman); 0 for a fair shuffle.
- jump: mean distance of consecutive samples of a batch in the data, 1 for a fair shuffle.
- neighbours meet after: steps between the visits of two samples that are neighbours in the data, as a share of the
  epoch (median), 0.29 for a fair shuffle; and how often one batch has both.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from momo.datasets import GlobalBatchSampler
from momo.ops import keyed_generator

MB = 2**20
RANKS_OF_A_NODE = 8


def write_index(folder: Path, pairs: int, shards: int) -> None:
    """`chunks` (shards + 1,), and for each pair where it begins in its shard and its bytes; photos of 60 KB."""
    rng = keyed_generator("index", pairs, shards)
    counts = rng.multinomial(pairs, rng.dirichlet(np.full(shards, 100.0)))  # shards differ by a tenth
    chunks = np.append(0, np.cumsum(counts))
    sizes = rng.lognormal(np.log(50e3), 0.6, pairs).astype(np.int32)
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = ends - sizes
    before = np.append(starts, ends[-1])[chunks[:-1]]
    np.save(folder / "chunks.npy", chunks)
    np.save(folder / "sizes.npy", sizes)
    np.save(folder / "starts.npy", starts - np.repeat(before, counts))


def open_index(folder: Path) -> dict[str, np.ndarray]:
    """Nothing is read before it is needed, and all processes of a node share what is."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("chunks", "sizes", "starts")}


def sampler_of(index: dict[str, np.ndarray], batch: int, in_pieces: bool, **settings: int) -> GlobalBatchSampler:
    chunks = index["chunks"] if in_pieces else None
    return GlobalBatchSampler(len(index["sizes"]), batch, chunks=chunks, **settings)


def _own_memory() -> int:
    """Bytes that only this process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))


def _mapped(folder: Path) -> int:
    """Bytes of this process's part of the mapped index: what n processes hold counts a n-th to each."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:  # a mapping begins; its figures follow
            ours = str(folder) in line
        elif ours and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def _one_process(folder: Path, rank: int, batch: int, in_pieces: bool, barrier, results) -> None:
    before = _own_memory()
    index = open_index(folder)
    sampler = sampler_of(index, batch // RANKS_OF_A_NODE, in_pieces, rank=rank, world_size=RANKS_OF_A_NODE)
    batches = iter(sampler)  # holds the epoch's order
    for _ in range(200):
        rows = [key.index for key in next(batches)]
        index["starts"][rows], index["sizes"][rows]
    barrier.wait()  # shared pages are counted while all hold them
    results.put(_own_memory() - before + _mapped(folder))
    barrier.wait()


def memory_of_a_node(folder: Path, batch: int, in_pieces: bool) -> float:
    """MB that 8 processes take for index and order after 200 batches."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(RANKS_OF_A_NODE), context.Queue()
    jobs = [
        context.Process(target=_one_process, args=(folder, rank, batch, in_pieces, barrier, results))
        for rank in range(RANKS_OF_A_NODE)
    ]
    for job in jobs:
        job.start()
    total = sum(results.get() for _ in jobs) / MB
    for job in jobs:
        job.join()
    return total


def seek_times(index: dict[str, np.ndarray], batch: int, in_pieces: bool, tries: int = 9) -> list[float]:
    """Seconds to the first batch at steps far apart, for one of 64 processes."""
    seconds = []
    for number in range(tries):
        begin = time.perf_counter()
        next(iter(sampler_of(index, batch // 64, in_pieces, rank=13, world_size=64, start=number * 123_457)))
        seconds.append(time.perf_counter() - begin)
    return seconds


def amplification(
    index: dict[str, np.ndarray], batch: int, in_pieces: bool, ranks: int, workers: int, block: int, cache: int
) -> float:
    """Bytes fetched a byte used, by worker 0 of process 0: it fetches whole blocks and keeps the last `cache` bytes.

    Over at most 50,000 samples, from the beginning of an epoch.
    """
    sampler = sampler_of(index, batch // ranks, in_pieces, world_size=ranks)
    order, share = sampler.order(0), batch // ranks
    shard_of = np.repeat(np.arange(len(index["chunks"]) - 1), np.diff(index["chunks"]))
    blocks: OrderedDict[tuple[int, int], None] = OrderedDict()
    fetched = used = 0
    for step in range(0, min(len(sampler), workers * -(-50_000 // share)), workers):
        for row in order.take(step, 0, share):
            shard, begin, size = int(shard_of[row]), int(index["starts"][row]), int(index["sizes"][row])
            used += size
            for number in range(begin // block, (begin + size - 1) // block + 1):
                if (shard, number) not in blocks:
                    fetched += block
                    blocks[shard, number] = None
                    if len(blocks) > cache // block:
                        blocks.popitem(last=False)
                blocks.move_to_end((shard, number))
    return fetched / used


def quality(index: dict[str, np.ndarray], batch: int, in_pieces: bool) -> dict[str, float]:
    """Measures of the shuffle of one epoch; see the top of this file."""
    sampler = sampler_of(index, batch, in_pieces)
    order, size, steps = sampler.order(0), sampler.size, len(sampler)
    shard_of = np.repeat(np.arange(len(index["chunks"]) - 1), np.diff(index["chunks"]))
    visited = np.full(size, -1, dtype=np.int32)
    shards, largest, jumps = [], [], []
    for step in range(steps):
        rows = order.take(step, 0, batch)
        visited[rows] = step
        if step % max(1, steps // 200) == 0:
            counts = np.bincount(shard_of[rows])
            shards.append(np.count_nonzero(counts))
            largest.append(counts.max() / batch)
            jumps.append(np.abs(np.diff(rows.astype(np.int64))).mean() / (size / 3))
    seen = np.flatnonzero(visited >= 0)
    both = (visited[:-1] >= 0) & (visited[1:] >= 0)
    apart = np.abs(np.diff(visited)[both])
    return {
        "visited once": len(seen) / (steps * batch),
        "distinct shards": float(np.mean(shards)),
        "largest share": float(np.mean(largest)),
        "rank correlation": float(np.corrcoef(seen, visited[seen])[0, 1]),
        "jump": float(np.mean(jumps)),
        "neighbours meet after": float(np.median(apart) / steps),
        "neighbours in one batch": float((apart == 0).mean()),
    }


# Processes, workers a process, block, cache a worker: the paper's 64 and what departs from it.
READERS = (
    (64, 8, 1 * MB, 512 * MB),
    (64, 8, 4 * MB, 512 * MB),
    (64, 2, 1 * MB, 512 * MB),
    (64, 6, 1 * MB, 512 * MB),
    (8, 8, 1 * MB, 512 * MB),
    (8, 8, 1 * MB, 4096 * MB),
)


def simulate(folder: Path, pairs: int, shards: int, batch: int) -> dict[str, dict[str, float]]:
    """All figures, by order: 'pieces' and 'full permutation'."""
    write_index(folder, pairs, shards)
    found: dict[str, dict[str, float]] = {}
    for name, in_pieces in (("pieces", True), ("full permutation", False)):
        begin = time.perf_counter()
        index = open_index(folder)
        next(iter(sampler_of(index, batch // 64, in_pieces, world_size=64)))
        figures = {"opened, first batch after, s": time.perf_counter() - begin}
        figures["8 processes of a node, MB"] = memory_of_a_node(folder, batch, in_pieces)
        seconds = seek_times(index, batch, in_pieces)
        figures["seek, median, ms"], figures["seek, worst, ms"] = 1e3 * np.median(seconds), 1e3 * max(seconds)
        for ranks, workers, block, cache in READERS:
            name_of_reader = f"{ranks} x {workers} workers, {block // MB} MB blocks, {cache // MB} MB kept"
            figures[f"amplification, {name_of_reader}"] = amplification(
                index, batch, in_pieces, ranks, workers, block, cache
            )
        found[name] = figures | quality(index, batch, in_pieces)
    return {name: {key: float(value) for key, value in figures.items()} for name, figures in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=27_000_000)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=4096, help="samples of a global batch")
    parser.add_argument("--out", type=Path, help="JSON file of all figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(Path(folder), args.pairs, args.shards, args.batch)
    table = Table("figure", *found, title=f"{args.pairs:,} pairs in {args.shards:,} shards, batches of {args.batch:,}")
    for key in next(iter(found.values())):
        table.add_row(key, *(f"{figures[key]:.4g}" for figures in found.values()))
    Console().print(table)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
