"""Answers to visual questions in one form, by which they are counted and compared."""

from __future__ import annotations

import re

# Each is also written with one of its apostrophes left out; that is put right.
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
_RESTORED = {
    word[:place] + word[place + 1 :]: word
    for word in CONTRACTIONS
    for place, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # as the benchmark has it
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
_WORDS = {**_NUMBERS, "none": "0"}
_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WITH_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32  # the benchmark's code takes no more out of an answer


def normalize_answer(answer: str) -> str:
    """An answer without case, punctuation and articles, its number words as digits and its contractions mended.

    Source: the VQA benchmark's evaluation page, 'answer processing'. A mark that stands beside a space vanishes, and so
    do all marks of an answer that has a number with a comma; another becomes a space.
    """
    text = answer
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if beside_space or _NUMBER_WITH_COMMA.search(answer) else " ")
    text = _PERIOD.sub("", text, count=_MOST_PERIODS)
    words = (_WORDS.get(word, word) for word in text.lower().split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def clean_answer(answer: str) -> str:
    """Line breaks and tabs as spaces, none around."""
    return answer.replace("\n", " ").replace("\t", " ").strip()
