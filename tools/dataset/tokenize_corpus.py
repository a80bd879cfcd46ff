"""Cut a text corpus into word pieces once, for TokenCorpus to map from disk.

    python tools/dataset/tokenize_corpus.py 'data/wikipedia/*.parquet' --tokenizer data/bert-base-uncased \
        --out data/tokens/wikipedia

Reads text files (a document a line), parquet files and Arrow files that `datasets` saved (a document a row). A document
that is blank, not UTF-8, null or has a NUL in it is left out and counted. Uses all cores, or a Ray cluster (--engine
ray). A run that was stopped goes on by the same command, from OUT/parts/, which can be removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from glob import glob
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.ipc
import pyarrow.parquet
from rich.progress import track
from shards import CONSOLE, Outcome, Shard, add_engine_options, exit_if_failed, run_shards, show, total

from momo.datasets import load_tokenizer
from momo.datasets.token_corpus import BOUNDS, FORMAT, HEADER, TOKENS, tokenizer_sha256

SHARD_BYTES = 16 << 20  # of text: ten seconds of a core
BATCH = 1000  # documents that the tokenizer gets at a time


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items; the last is what is left."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def plan(files: list[str], out: Path, settings: dict[str, Any], shard_bytes: int = SHARD_BYTES) -> list[Shard]:
    """The corpus in shards of about `shard_bytes`: byte ranges of text files, row groups of parquet files; whole Arrow
    files, for these are short already.

    Raises: ValueError for a file of another kind, or without the column.
    """
    shards: list[Shard] = []
    for path in files:
        if path.endswith(".txt"):
            parts = _text_ranges(path, shard_bytes)
        elif path.endswith(".parquet"):
            parts = _row_groups(path, settings["column"], shard_bytes)
        elif path.endswith(".arrow"):
            parts = [[]]
        else:
            raise ValueError(f"{path}: a corpus is made of .txt files (a document a line), .parquet or .arrow files")
        for number, part in enumerate(parts, 1):
            name = f"{Path(path).name}, part {number} of {len(parts)}"
            folder = out / "parts" / f"{len(shards):06d}"
            shards.append(Shard(name, (path,), folder, {"path": path, "part": part, **settings}))
    return shards


def _text_ranges(path: str, shard_bytes: int) -> list[list[int]]:
    size = os.path.getsize(path)
    return [[start, min(start + shard_bytes, size)] for start in range(0, size, shard_bytes)]


def _row_groups(path: str, column: str, shard_bytes: int) -> list[list[int]]:
    file = pyarrow.parquet.ParquetFile(path)
    _check_column(path, column, file.schema_arrow.names)
    parts, full = [[]], 0
    for group in range(file.num_row_groups):
        if full >= shard_bytes:
            parts.append([])
            full = 0
        parts[-1].append(group)
        full += file.metadata.row_group(group).total_byte_size
    return [part for part in parts if part]


def _check_column(path: str, column: str, names: list[str]) -> None:
    if column not in names:
        raise ValueError(f"{path} has no column {column!r}; it has {names}")


def documents(settings: dict[str, Any]) -> Iterator[str | None]:
    """The texts of a shard, in their order; None for one that is no text."""
    read = READERS[Path(settings["path"]).suffix]
    texts = map(_checked, read(settings["path"], settings["part"], settings["column"]))
    if settings["join"] == 1:
        return texts
    return (" ".join(lines) for lines in batched((text for text in texts if text), settings["join"]))


def _checked(text: str | bytes | None) -> str | None:
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        return None
    return text if isinstance(text, str) and text.strip() and "\0" not in text else None


def _lines(path: str, part: list[int], column: str) -> Iterator[bytes]:
    """The lines that begin in a range of bytes and are not blank."""
    start, stop = part
    with open(path, "rb") as file:
        if start:
            file.seek(start - 1)
            start += len(file.readline()) - 1  # of a line that began before; of the last newline, nothing
        for line in file:
            if start >= stop:
                return
            start += len(line)
            if line.strip():
                yield line.strip()


def _cells(path: str, part: list[int], column: str) -> Iterator[str | None]:
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(BATCH, part, [column]):
        yield from batch.column(0).to_pylist()


def _arrow_cells(path: str, part: list[int], column: str) -> Iterator[str | None]:
    with pyarrow.memory_map(path) as file, pyarrow.ipc.open_stream(file) as stream:
        _check_column(path, column, stream.schema.names)
        for batch in stream:
            yield from batch.column(column).to_pylist()


READERS = {".txt": _lines, ".parquet": _cells, ".arrow": _arrow_cells}


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
    dtype = np.load(parts[0] / TOKENS, mmap_mode="r").dtype
    halves = {name: out / f".{name}.part" for name in (TOKENS, BOUNDS)}  # a run may be reading the files of now
    tokens = np.lib.format.open_memmap(halves[TOKENS], "w+", dtype, (counts["tokens"],))
    bounds = np.lib.format.open_memmap(halves[BOUNDS], "w+", np.int64, (counts["documents"] + 1,))
    token = document = 0
    for part in track(parts, "merging", console=CONSOLE):
        own = np.load(part / BOUNDS)
        tokens[token : token + own[-1]] = np.load(part / TOKENS)
        bounds[document : document + len(own)] = own + token
        token, document = token + int(own[-1]), document + len(own) - 1
    tokens.flush()
    bounds.flush()
    (out / HEADER).unlink(missing_ok=True)
    for name, half in halves.items():
        os.replace(half, out / name)
    header = {
        "format": FORMAT,
        "tokenizer": tokenizer,
        "tokenizer_sha256": sha256,
        "vocab_size": len(load_tokenizer(tokenizer)),
        "documents": document,
        "tokens": token,
    }
    half = out / f".{HEADER}.part"
    half.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    os.replace(half, out / HEADER)


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
    parser.add_argument("files", nargs="+", help="paths or glob patterns ending in .txt, .parquet or .arrow")
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
        files = [path for pattern in args.files for path in sorted(glob(pattern, recursive=True)) or [pattern]]
        sha256 = tokenizer_sha256(args.tokenizer)
        settings = {"tokenizer": args.tokenizer, "sha256": sha256, "column": args.column, "join": args.join}
        shards = plan(files, args.out, settings)
        start = time.perf_counter()
        outcomes = run_shards(tokenize, shards, "tokenizing", engine=args.engine, workers=args.workers)
        exit_if_failed(outcomes)
        merge(args.out, args.tokenizer, sha256, outcomes)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    summary(args.out, outcomes, time.perf_counter() - start)


if __name__ == "__main__":
    main()
