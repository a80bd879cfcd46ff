"""From text to word pieces."""

from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer

from momo.datasets import Tokenize, load_tokenizer


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
