"""Which pairs are explained, and the picture and the table that come of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, sentence, write_images, write_tokenizer
from helpers.tiny import STAGES, tiny_config, tiny_pretrainer
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis"))

import explain  # noqa: E402

from momo.apis import DeletionTest  # noqa: E402
from momo.datasets import load_tokenizer  # noqa: E402


@pytest.fixture
def tokenizer(tmp_path: Path):
    return load_tokenizer(write_tokenizer(tmp_path / "tokenizer"))


def test_pairs_with_one_hidden_word_are_kept(tmp_path: Path, tokenizer) -> None:
    rows = [
        {"image": "0.png", "caption": "a [MASK] cat", "word": "red"},
        {"image": "1.png", "caption": ["blue moon over hill", "unread"], "annotation": "moon"},
        {"image": "2.png", "caption": "red cat, red dog", "annotation": "red cat"},  # the word stands twice
        {"image": "3.png", "caption": "a zebra"},  # nothing to hide
        {"image": "4.png", "caption": "[MASK] and [MASK]"},
    ]
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(rows))
    found = {question.image.name: question for question in explain.read_pairs(path, Path("somewhere"), tokenizer)}
    assert set(found) == {"0.png", "1.png"}
    assert found["0.png"] == (Path("somewhere/0.png"), "a [MASK] cat", "red")
    assert found["1.png"] == (Path("somewhere/1.png"), "blue [MASK] over hill", "moon")
    reordered = tmp_path / "reordered.json"
    reordered.write_text(json.dumps(rows[::-1]))
    assert explain.read_pairs(reordered, Path("x"), tokenizer) == explain.read_pairs(path, Path("x"), tokenizer)
    path.write_text(json.dumps(rows[2:]))
    with pytest.raises(ValueError, match=r"pairs.json: no caption has one \[MASK\]"):
        explain.read_pairs(path, tmp_path, tokenizer)


def test_table_compares_pair_by_pair() -> None:
    relevant, random = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])
    table = explain.as_table({"likeliest": DeletionTest(relevant, random, relevant)})
    cells = [list(column.cells) for column in table.columns]
    assert cells[2][:2] == ["+4.0000 ± 1.0000", "+1.5000 ± 0.5000"]
    assert cells[3] == ["", "+2.5000 ± 0.5000", "+0.0000 ± 0.0000"]  # differences of 2 and 3


@pytest.mark.slow
def test_picture_and_test_from_the_command_line(tmp_path: Path, tokenizer) -> None:
    images = Path(write_images(tmp_path / "images", 4))
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    rows = [{"image": name, "caption": f"{sentence(i)} [MASK]"} for i, name in enumerate(names)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    model = dict(tiny_config(STAGES[3], vocab_size=len(VOCABULARY)))
    Config(dict(model=model, data=dict(tokenizer=str(tmp_path / "tokenizer")))).dump(tmp_path / "config.py")
    weights = tiny_pretrainer(3, vocab_size=len(VOCABULARY)).state_dict()
    torch.save(weights, tmp_path / "weights.pth")

    def run(*options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "tools/analysis/explain.py", tmp_path / "config.py", tmp_path / "weights.pth"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT, env=environment)

    pair = ["--image", str(images / names[0]), "--caption", "the [MASK] sleeps"]
    both = ["--pairs", str(tmp_path / "pairs.json"), "--root", str(images), "--count", "2", "--deletion-test", "4"]
    result = run(*pair, *both, "--out", str(tmp_path / "out" / "figure.png"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "figure.png").stat().st_size > 10_000
    assert result.stdout.count("rests most on the patch in row") == 3
    assert "likeliest" in result.stdout and " 4 " in result.stdout
    result = run(*pair, "--caption", "a [MASK]")
    assert result.returncode == 2 and "each --image needs a --caption, got 1 and 2" in result.stderr
