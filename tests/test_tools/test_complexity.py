"""FLOPs against a formula, and the table beside FLAVA's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny import tiny_vit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "analysis"))

import complexity  # noqa: E402


def by_formula(tokens: list[int], embedded: int, dim: int = 32, depth: int = 2) -> int:
    """Multiply-adds: 12 C^2 a token and block, two L x L x C products a sequence and block, the patches' projection."""
    block = sum(12 * length * dim**2 + 2 * length**2 * dim for length in tokens)
    return depth * block + embedded


@pytest.mark.parametrize(("task", "length"), [("image", 17), ("text", 8), ("image_text", 24)])
@torch.inference_mode()
def test_flops_are_the_formula_s(task: str, length: int) -> None:
    inputs = complexity.Inputs(torch.randn(3, 3, 32, 32), torch.randint(5, 90, (3, 7)))
    model = complexity.Task(tiny_vit().eval(), task, inputs)
    patches = 3 * 16 * 3 * 8 * 8 * 32 if "image" in task else 0
    expected = by_formula([length] * 3, patches)
    counted = complexity.flops(model, inputs)
    norms = counted - expected  # fvcore counts LayerNorms, five operations a value
    assert 0 <= norms <= 0.05 * expected and norms % 5 == 0, (counted, expected)


def test_models_take_turns() -> None:
    calls: list[str] = []
    inputs = complexity.Inputs(torch.zeros(1), torch.zeros(1))
    seconds = complexity.latencies([lambda *_: calls.append("a"), lambda *_: calls.append("b")], inputs, rounds=2)
    assert calls == ["a", "b"] * 3 and len(seconds) == 2


@pytest.mark.slow
def test_table(tmp_path: Path) -> None:
    command = [sys.executable, "tools/analysis/complexity.py", "--arch", "tiny", "--batch", "1", "--rounds", "1"]
    result = subprocess.run([*command, "--out", str(tmp_path / "c.json")], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    rows = {row["task"]: row for row in json.loads((tmp_path / "c.json").read_text())}
    assert set(rows) == {"image", "text", "image_text"} and "FLAVA" in result.stdout
    pair = rows["image_text"]
    assert pair["gflops"] < pair["flava_gflops"]  # one encoder instead of three
    assert pair["parameters"] < pair["flava_parameters"]
