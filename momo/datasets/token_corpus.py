"""Text that was cut into word pieces once, read at the speed of memory."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from momo.registry import DATASETS

from .base import KeyedDataset, existing
from .transforms import load_tokenizer

# A corpus is a folder with these three files.
HEADER, TOKENS, BOUNDS = "corpus.json", "tokens.npy", "bounds.npy"
FORMAT = 1
MADE_BY = "python tools/dataset/tokenize_corpus.py"


def tokenizer_sha256(path: str) -> str:
    """A hash of all that decides how a text is cut, the same for vocab.txt and tokenizer.json of one tokenizer."""
    parts = json.loads(load_tokenizer(path).backend_tokenizer.to_str())
    for name in ("version", "truncation", "padding", "post_processor", "decoder"):
        parts.pop(name, None)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class _Tokens:
    """tokens (T,) uint16 or uint32 of D documents back to back, and their bounds (D + 1,) int64, mapped from disk."""

    def __init__(self, folder: Path, documents: int, tokens: int) -> None:
        self.folder = folder
        try:
            self._open()
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder} is not whole: {error}; make it again with {MADE_BY}") from error
        found = (len(self.bounds) - 1, len(self.tokens), int(self.bounds[-1]))
        if found != (documents, tokens, tokens):
            raise ValueError(
                f"{folder} holds {found[0]:,} documents of {found[1]:,} tokens, and {HEADER} says {documents:,} of "
                f"{tokens:,}: make it again with {MADE_BY}"
            )

    def _open(self) -> None:
        self.tokens = np.load(self.folder / TOKENS, mmap_mode="r")
        self.bounds = np.load(self.folder / BOUNDS, mmap_mode="r")

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._open()  # each process maps the files itself


@DATASETS.register_module()
class TokenCorpus(KeyedDataset):
    """Documents from token files, as TextCorpus and Tokenize give them, but cut into word pieces beforehand.

    Where no document is longer than `max_len`, both give the same samples in the same order. Of longer documents there
    are two readings:
      'pieces': a document is cut into consecutive pieces of `max_len`, and each is a sample: an epoch is every token
        once. A document's last piece is as short as it comes; sequences are packed, so nothing is wasted on it.
      'documents': a document is a sample, and of a longer one a window is read whose place is drawn from the sample's
        key, just as Tokenize does: an epoch is every document once, as the paper counts (MoMo 3.4).
    Samples have 'words' (T,) int64, without [CLS] and [SEP].

    Args:
        folders: What tokenize_corpus.py made, one folder or several.
        tokenizer: Folder of the BERT tokenizer that the model is trained with.
        max_len: Longest sequence in word pieces (our choice, as Tokenize's).
        samples: 'pieces' or 'documents'.
        pipeline: Transforms; usually none.
    Raises: FileNotFoundError if a folder or its header is not there; ValueError if the corpus was cut by another
        tokenizer or is not whole, and for another reading.
    """

    def __init__(
        self,
        folders: str | Sequence[str],
        tokenizer: str,
        max_len: int = 512,
        samples: str = "pieces",
        pipeline: Sequence[dict] = (),
    ) -> None:
        super().__init__(pipeline)
        if samples not in ("pieces", "documents"):
            raise ValueError(f"samples={samples!r} is unknown; choose 'pieces' or 'documents'")
        self.max_len, self.whole = max_len, samples == "documents"
        expected = tokenizer_sha256(tokenizer)
        paths = [folders] if isinstance(folders, str) else folders
        self.corpora = [_open_corpus(folder, tokenizer, expected) for folder in paths]
        # By corpus, how many samples its documents have given when each is over.
        self.sample_ends = [np.cumsum(self._samples_of(corpus)) for corpus in self.corpora]
        self.ends = np.cumsum([ends[-1] for ends in self.sample_ends]).tolist()

    def _samples_of(self, corpus: _Tokens) -> np.ndarray:
        lengths = np.diff(corpus.bounds)
        return np.ones_like(lengths) if self.whole else -(-lengths // self.max_len)

    def __len__(self) -> int:
        return self.ends[-1]

    @property
    def lengths(self) -> np.ndarray:
        """Word pieces of each sample, (N,) int32, which batches by token budget go by."""
        found = []
        for corpus, ends in zip(self.corpora, self.sample_ends, strict=True):
            documents = np.diff(corpus.bounds)
            lengths = np.full(ends[-1], self.max_len, dtype=np.int32)
            last = np.minimum(documents, self.max_len) if self.whole else (documents - 1) % self.max_len + 1
            lengths[ends - 1] = last  # of each document, whose other samples are as long as can be
            found.append(lengths)
        return np.concatenate(found)

    def read(self, index: int) -> dict[str, Any]:
        place = bisect_right(self.ends, index)
        corpus, ends = self.corpora[place], self.sample_ends[place]
        row = index - (self.ends[place - 1] if place else 0)
        document = int(np.searchsorted(ends, row, side="right"))
        piece = row - (int(ends[document - 1]) if document else 0)
        start, stop = corpus.bounds[document : document + 2].tolist()
        if self.whole and stop - start > self.max_len:
            start += int(torch.randint(stop - start - self.max_len + 1, ()))
        start += piece * self.max_len
        words = corpus.tokens[start : min(start + self.max_len, stop)].astype(np.int64)
        return {"sample_id": f"{corpus.folder}:{document}:{piece}", "words": words}


def _open_corpus(folder: str, tokenizer: str, expected: str) -> _Tokens:
    path = existing(folder, "folders", f"a corpus that {MADE_BY} made")
    if not (path / HEADER).is_file():
        raise FileNotFoundError(
            f"folders={folder!r} has no {HEADER}: it is no corpus of {MADE_BY}, or that is not done; the same command "
            "goes on where it stopped"
        )
    header = json.loads((path / HEADER).read_text(encoding="utf-8"))
    if header["format"] != FORMAT:
        raise ValueError(f"{path / HEADER} has format {header['format']}, and this version reads {FORMAT}")
    if header["tokenizer_sha256"] != expected:
        raise ValueError(
            f"folders={folder!r} was cut by another tokenizer ({header['vocab_size']:,} pieces, from "
            f"{header['tokenizer']}) than tokenizer={tokenizer!r}: give that one, or make it again with {MADE_BY}"
        )
    return _Tokens(path, header["documents"], header["tokens"])
