"""Which words the demo hides, and how guesses are scored."""

import math
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))

import examples  # noqa: E402

from momo.datasets import load_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> BertTokenizerFast:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ",", "id", "key", "##cap", "red", "heart", "hearts"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("annotation", "caption", "hidden", "word"),
    [
        ("Red heart", "Red heart, heart, red, redden", "[MASK] heart, heart, [MASK], redden", "red"),
        ("keycap: heart", "keycap: heart, hearts", "keycap: [MASK], hearts", "heart"),  # 'keycap' is two pieces
        ("ID zebra-red", "ID zebra-red", "ID zebra-[MASK]", "red"),  # 'ID' is short, 'zebra' unknown
    ],
)
def test_first_whole_word_is_hidden_wherever_it_stands(tokenizer, annotation, caption, hidden, word) -> None:
    assert examples.blank(annotation, caption, tokenizer) == (hidden, word)


def test_some_captions_have_nothing_to_hide(tokenizer) -> None:
    assert examples.blank("ID keycap 123", "ID keycap 123", tokenizer) is None


def test_score_counts_ties_against_the_answer() -> None:
    guesses = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]).log()
    score = examples.score(guesses, torch.tensor([0, 1]))
    assert score["top1"] == 0.5
    assert score["top5"] == 1.0
    assert score["cross_entropy"] == pytest.approx(1.5 * math.log(2))
    assert score["standard_error"] == pytest.approx(0.5 * math.log(2))  # half the difference of two values
    assert examples.score(torch.full((1, 3), 1 / 3).log().expand(2, -1), torch.tensor([0, 1]))["top1"] == 0.0


def test_first_mask_of_each_caption_counts() -> None:
    blanks = [examples.Blank("[MASK] a [MASK]", "x"), examples.Blank("[MASK]", "x"), examples.Blank("b [MASK]", "x")]
    assert examples.first_of_each(torch.arange(4), blanks, "[MASK]").tolist() == [0, 2, 3]
