"""From text to word pieces."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from momo.datasets import PackedCollate, Tokenize, load_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return write_tokenizer(tmp_path / "tokenizer")


def pieces(transform: Tokenize, text: str) -> list[str]:
    return [VOCABULARY[word] for word in transform({"text": text})["words"]]


def test_pieces_are_lower_case_without_special_tokens(folder: str) -> None:
    transform = Tokenize(folder)
    words = transform({"text": "The CATS sleeps."})["words"]
    assert words.dtype == "int64"
    assert [VOCABULARY[word] for word in words] == ["the", "cat", "##s", "sleeps", "."]
    assert pieces(transform, "the xylophone") == ["the", "[UNK]"]


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_text_without_pieces_becomes_unknown(folder: str, text: str) -> None:
    assert pieces(Tokenize(folder), text) == ["[UNK]"]


def test_the_window_moves_over_the_whole_text(folder: str) -> None:
    text = "a cat sleeps over the red hill . dog"
    transform = Tokenize(folder, max_len=4)
    whole = pieces(Tokenize(folder), text)
    windows = set()
    for seed in range(200):
        torch.manual_seed(seed)
        windows.add(tuple(pieces(transform, text)))
    assert windows == {tuple(whole[start : start + 4]) for start in range(len(whole) - 3)}


def test_a_text_that_fits_is_taken_whole_and_draws_nothing(folder: str) -> None:
    transform = Tokenize(folder, max_len=3)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert pieces(transform, "red blue sun") == ["red", "blue", "sun"]
    assert torch.equal(torch.rand(1), expected)


def test_tokenizer_is_read_once_a_process(folder: str) -> None:
    assert load_tokenizer(folder) is load_tokenizer(folder)


def test_a_missing_tokenizer_is_explained(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"no tokenizer.json or vocab.txt there. Put the BERT-uncased"):
            Tokenize(str(path))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Tokenize:
    return Tokenize(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), max_len=16)


ODD_TEXTS = [
    "",
    " \t\n\u00a0\u2028",
    "a cat " * 5000,
    "x" * 100_000,
    b"caf\xe9".decode("utf-8", errors="replace"),
    "half a pair \ud83d",
    "\udcff\udc80",
    "nul \0 inside \0\0",
    "emoji \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\ufeff\ufffe\uffff\U0010ffff",
    "e" + "\u0301" * 1000,
    "[CLS] [MASK] [SEP] [PAD]",
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
def test_odd_texts_become_pieces(limited: Tokenize, text: str) -> None:
    words = limited({"text": text, "sample_id": "odd"})["words"]
    assert 1 <= len(words) <= 16 and 0 <= words.min() and words.max() < len(VOCABULARY)


NO_TEXTS: list[Any] = [None, 3, 1.5, float("nan"), b"bytes", ["a"], {"a": 1}, True]


@pytest.mark.parametrize("text", NO_TEXTS, ids=repr)
def test_what_is_no_text_is_named(limited: Tokenize, text: Any) -> None:
    with pytest.raises(ValueError, match="corpus:7: the text is .*, not a string"):
        limited({"text": text, "sample_id": "corpus:7"})


ANYTHING = st.one_of(
    st.text(),  # every code point but surrogates
    st.text(st.characters(codec=None)),
    st.text(st.sampled_from("\0\ud800\udfff\u200d\u202e\ufeff\u0301 \n.aA\u00df\u4e2d\U0001f600")),
    st.lists(st.sampled_from(VOCABULARY), max_size=60).map(" ".join),
    st.binary().map(lambda data: data.decode("utf-8", errors="replace")),
    st.binary().map(lambda data: data.decode("utf-8", errors="surrogateescape")),
    st.none() | st.integers() | st.floats() | st.binary() | st.lists(st.text()),
)


def becomes_pieces_or_is_refused(tokenize: Tokenize, text: Any) -> None:
    """Pieces that a batch can hold, the same ones again from the same draw; or an error that names the sample."""
    sample = {"text": text, "sample_id": "corpus:7", "key": 7}
    if not isinstance(text, str):
        with pytest.raises(ValueError, match="corpus:7"):
            tokenize(sample)
        return
    torch.manual_seed(0)
    words = tokenize(sample)["words"]
    torch.manual_seed(0)
    assert tokenize({**sample})["words"].tolist() == words.tolist()
    batch = PackedCollate(text_limits=(16, len(VOCABULARY)))([sample])
    assert batch["words"].tolist() == words.tolist() and batch["word_counts"].tolist() == [len(words)]


@settings(max_examples=300, deadline=None)
@given(text=ANYTHING)
def test_any_text_becomes_pieces_or_is_refused(limited: Tokenize, text: Any) -> None:
    becomes_pieces_or_is_refused(limited, text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(text=ANYTHING)
def test_very_many_texts_become_pieces_or_are_refused(limited: Tokenize, text: Any) -> None:
    becomes_pieces_or_is_refused(limited, text)
