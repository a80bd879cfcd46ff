"""Cut a text corpus into word pieces once, for TokenCorpus to map from disk.

    python tools/dataset/tokenize_corpus.py 'data/wikipedia/*.parquet' --tokenizer data/bert-base-uncased \
        --out data/tokens/wikipedia

Reads what TextCorpus reads: text files (a document a line), and a column of parquet, Arrow, CSV, TSV, JSON and JSONL
files or of a folder that `datasets` saved (a document a row; where a row has a list of texts, each is a document). All
but text and Arrow files are first copied to Arrow files, as TextCorpus does it. A document that is blank, not UTF-8,
null or has a NUL in it is left out and counted. Uses all cores, or a Ray cluster (--engine ray). A run that was stopped
goes on by the same command, from OUT/parts/, which can be removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from shards import CONSOLE, Outcome, Shard, add_engine_options, exit_if_failed, run_shards, show, total

from momo.datasets import load_tokenizer
from momo.datasets.base import checked_text
from momo.datasets.cache import write_atomically
from momo.datasets.tables import find
from momo.datasets.text_corpus import open_texts
from momo.datasets.token_corpus import BOUNDS, FORMAT, HEADER, TOKENS, tokenizer_sha256

SHARD_BYTES = 16 << 20  # of text: ten seconds of a core
BATCH = 1000  # documents that the tokenizer gets at a time


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last is what is left."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def look(shard: Shard, temporary: Path) -> dict[str, Any]:
    """Make a file ready to be entered anywhere; its rows and bytes of text."""
    part = open_texts(shard.settings["path"], shard.settings["column"])
    counts = {"rows": len(part), "bytes": part.nbytes}
    temporary.write_text(json.dumps(counts), encoding="utf-8")
    return counts


def plan(
    files: list[str], out: Path, settings: dict[str, Any], shard_bytes: int = SHARD_BYTES, **engine: Any
) -> list[Shard]:
    """The corpus in shards: rows of a file, of about `shard_bytes`.

    Args:
        engine: As `run_shards` takes it.
    Raises: SystemExit naming the files that cannot be read, or have no such column.
    """
    looks = [
        Shard(path, (path,), out / "parts" / f"rows-{number:06d}.json", {"path": path, "column": settings["column"]})
        for number, path in enumerate(files)
    ]
    looked = run_shards(look, looks, "opening", **engine)
    exit_if_failed(looked)
    shards: list[Shard] = []
    for path, outcome in zip(files, looked, strict=True):
        rows = outcome.counts["rows"]
        step = max(1, rows * shard_bytes // max(1, outcome.counts["bytes"]))
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            folder = out / "parts" / f"{len(shards):06d}"
            own = {"path": path, "start": start, "stop": stop, **settings}
            shards.append(Shard(f"{Path(path).name}, rows {start:,} to {stop:,}", (path,), folder, own))
    return shards


def documents(settings: dict[str, Any]) -> Iterator[str | None]:
    """The texts of a shard, in their order; None for one that is no text."""
    if settings["join"] == 1:
        return _texts(settings)
    return (" ".join(lines) for lines in batched((text for text in _texts(settings) if text), settings["join"]))


def _texts(settings: dict[str, Any]) -> Iterator[str | None]:
    part = open_texts(settings["path"], settings["column"])
    for row in range(settings["start"], settings["stop"]):
        try:
            cell = part.cell("text", row)
        except ValueError:  # not UTF-8
            cell = None
        for text in (cell or [None]) if isinstance(cell, list) else [cell]:
            try:
                yield checked_text(text)
            except ValueError:
                yield None


def tokenize(shard: Shard, temporary: Path) -> dict[str, Any]:
    """Make a part's tokens.npy and bounds.npy. A document without any piece becomes one [UNK]."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has a core
    tokenizer = load_tokenizer(shard.settings["tokenizer"])
    encode, unknown = tokenizer.backend_tokenizer.encode_batch_fast, [tokenizer.unk_token_id]
    dtype = np.uint16 if len(tokenizer) <= 2**16 else np.uint32
    tokens, lengths, broken = [np.empty(0, dtype)], [np.zeros(1, np.int64)], 0
    start = time.process_time()
    for texts in batched(documents(shard.settings), BATCH):
        kept = [text for text in texts if text is not None]
        broken += len(texts) - len(kept)
        pieces = [encoding.ids or unknown for encoding in encode(kept, add_special_tokens=False)]
        tokens.append(np.fromiter(chain.from_iterable(pieces), dtype))
        lengths.append(np.fromiter(map(len, pieces), np.int64))
    bounds = np.cumsum(np.concatenate(lengths))
    seconds = time.process_time() - start
    temporary.mkdir()
    np.save(temporary / TOKENS, np.concatenate(tokens))
    np.save(temporary / BOUNDS, bounds)
    return {"documents": len(bounds) - 1, "tokens": int(bounds[-1]), "broken": broken, "seconds": seconds}


def merge(out: Path, tokenizer: str, sha256: str, outcomes: list[Outcome]) -> None:
    """Put the parts together, and write corpus.json last, without which they are no corpus.

    Raises: ValueError if no document is there.
    """
    counts, parts = total(outcomes), [outcome.shard.output for outcome in outcomes]
    if not counts["documents"]:
        raise ValueError("the corpus holds no document")

    def join_tokens(target: Path) -> None:
        dtype = np.load(parts[0] / TOKENS, mmap_mode="r").dtype
        tokens, end = _memmap(target, dtype, counts["tokens"]), 0
        for part in track(parts, "merging tokens", console=CONSOLE):
            own = np.load(part / TOKENS)
            tokens[end : end + len(own)] = own
            end += len(own)
        tokens.flush()

    def join_bounds(target: Path) -> None:
        bounds, document, end = _memmap(target, np.int64, counts["documents"] + 1), 0, 0
        for part in track(parts, "merging bounds", console=CONSOLE):
            own = np.load(part / BOUNDS)
            bounds[document : document + len(own)] = own + end
            document, end = document + len(own) - 1, end + int(own[-1])
        bounds.flush()

    header = {
        "format": FORMAT,
        "tokenizer": tokenizer,
        "tokenizer_sha256": sha256,
        "vocab_size": len(load_tokenizer(tokenizer)),
        "documents": counts["documents"],
        "tokens": counts["tokens"],
    }
    (out / HEADER).unlink(missing_ok=True)
    write_atomically(out / TOKENS, join_tokens)
    write_atomically(out / BOUNDS, join_bounds)
    text = json.dumps(header, indent=1) + "\n"
    write_atomically(out / HEADER, lambda target: target.write_text(text, encoding="utf-8"))


def _memmap(path: Path, dtype: Any, size: int) -> np.memmap:
    return np.lib.format.open_memmap(path, "w+", dtype, (size,))


def summary(out: Path, outcomes: list[Outcome], seconds: float) -> None:
    """Print what was made, and how fast."""
    counts = total(outcomes)
    fresh = total([outcome for outcome in outcomes if not outcome.done_before])
    rows: dict[str, Any] = {
        "documents": counts["documents"],
        "tokens": counts["tokens"],
        "tokens a document": f"{counts['tokens'] / max(counts['documents'], 1):.1f}",
        "shards, of them done before": f"{len(outcomes):,}, {sum(outcome.done_before for outcome in outcomes):,}",
    }
    if counts["broken"]:
        rows["left out, for they are no text"] = counts["broken"]
    if fresh["seconds"]:
        rows["documents a second of a core"] = round(fresh["documents"] / fresh["seconds"])
        rows["tokens a second of a core"] = round(fresh["tokens"] / fresh["seconds"])
        rows["documents a second in all"] = round(fresh["documents"] / seconds)
    show(str(out), rows)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="paths, glob patterns or URLs, as TextCorpus has them")
    parser.add_argument("--tokenizer", required=True, help="folder of the BERT tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="folder of the token files")
    parser.add_argument("--column", default="text", help="column of the tables that holds the text")
    parser.add_argument(
        "--join", type=int, default=1, metavar="N", help="of sentences in a row, make documents of N (default: 1)"
    )
    add_engine_options(parser)
    args = parser.parse_args()
    if args.join < 1:
        parser.error(f"--join {args.join}: at least 1 line makes a document")
    return args


def main() -> None:
    args = parse_args()
    try:
        files = find(args.files, "files", "text files or tables")
        sha256 = tokenizer_sha256(args.tokenizer)
        settings = {"tokenizer": args.tokenizer, "sha256": sha256, "column": args.column, "join": args.join}
        engine = {"engine": args.engine, "workers": args.workers}
        start = time.perf_counter()
        shards = plan(files, args.out, settings, **engine)
        outcomes = run_shards(tokenize, shards, "tokenizing", **engine)
        exit_if_failed(outcomes)
        merge(args.out, args.tokenizer, sha256, outcomes)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    summary(args.out, outcomes, time.perf_counter() - start)


if __name__ == "__main__":
    main()
