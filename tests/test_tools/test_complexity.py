"""FLOPs and parameters against formulas and gradients, and the tables beside FLAVA's."""

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
import count_parameters  # noqa: E402

from momo.models import MoMoViT  # noqa: E402

DIM, DEPTH, BATCH, WORDS, PATCHES = 32, 2, 3, 7, 16


def encoder(length: int, dim: int = DIM, depth: int = DEPTH) -> int:
    """Multiply-adds of a pre-norm encoder on one sequence: four C x C products of attention and eight of the MLP a
    token, two L x L x C products, and 5 a value for two LayerNorms a block and one at the end."""
    return depth * (12 * length * dim**2 + 2 * length**2 * dim) + 5 * (2 * depth + 1) * length * dim


def inputs() -> complexity.Inputs:
    return complexity.Inputs(torch.randn(BATCH, 3, 32, 32), torch.randint(5, 90, (BATCH, WORDS)))


@pytest.mark.parametrize(("task", "length"), [("image", 17), ("text", 8), ("image_text", 24)])
@torch.inference_mode()
def test_flops_are_the_formula_s(task: str, length: int) -> None:
    given = inputs()
    expected = BATCH * encoder(length)
    if "image" in task:
        expected += BATCH * PATCHES * 3 * 8 * 8 * DIM  # patches' projection
    if "text" in task:
        expected += BATCH * WORDS * 5 * DIM  # the embedding's LayerNorm
    assert complexity.flops(complexity.Task(tiny_vit().eval(), task, given), given) == expected


def small_flava() -> torch.nn.Module:
    from transformers import FlavaConfig, FlavaModel

    sizes = dict(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=4, intermediate_size=4 * DIM)
    image, text = dict(sizes, image_size=32, patch_size=8), dict(sizes, vocab_size=100)
    joint = dict(sizes, num_hidden_layers=1)
    cfg = FlavaConfig(image, text, joint, hidden_size=DIM, projection_dim=DIM)
    return FlavaModel(cfg).eval()


@pytest.mark.slow
def test_flava_is_counted_by_the_same_formula() -> None:
    given, flava = inputs(), small_flava()
    pooler, patches = DIM**2, PATCHES * 3 * 8 * 8 * DIM
    image, text = encoder(17) + patches + pooler, encoder(WORDS) + 5 * WORDS * DIM + pooler
    projected = (17 + WORDS) * DIM**2
    joint = encoder(1 + 17 + WORDS, depth=1) + pooler
    for task, expected in (("image", image), ("text", text), ("image_text", image + text + projected + joint)):
        with torch.inference_mode():
            counted = complexity.flops(complexity.FlavaTask(flava, task), given)
        assert counted == pytest.approx(BATCH * expected, rel=0.01), task


def trained_by(model: torch.nn.Module, task: torch.nn.Module, given: complexity.Inputs) -> int:
    """Parameters that a task's output depends on."""
    model.zero_grad()
    task(*given).square().sum().backward()
    return sum(p.numel() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
def test_active_parameters_are_those_that_the_output_depends_on() -> None:
    """What the forward pass leaves out is known: projections, matching head, FLAVA's poolers and [MASK] patch."""
    small = complexity.Inputs(torch.randn(1, 3, 224, 224), torch.randint(5, 90, (1, 4)))
    backbone, counted = MoMoViT("tiny"), count_parameters.active_parameters("tiny")
    for task, head in (("image", 192**2 + 192), ("text", 192**2 + 192), ("image_text", 2 * 192 + 2)):
        assert counted[task] == trained_by(backbone, complexity.Task(backbone, task, small), small) + head, task

    flava = small_flava()
    counted, linear = complexity.flava_parameters(flava), DIM**2 + DIM
    left_out = {
        "image": 2 * linear + DIM,  # pooler, projection, the token of masked patches
        "text": 2 * linear,
        "image_text": 3 * linear + DIM + 4 * DIM,  # poolers, that token, the last norms of both unimodal encoders
    }
    for task, unused in left_out.items():
        assert counted[task] == trained_by(flava, complexity.FlavaTask(flava, task), inputs()) + unused, task


def test_difference_to_the_paper() -> None:
    assert count_parameters.beside_paper(109_450_000, 110) == ["109,450,000", "110 M", "-0.50%"]
    assert count_parameters.beside_paper(5, None) == ["5", "", ""]


def test_models_take_turns() -> None:
    calls: list[str] = []
    given = complexity.Inputs(torch.zeros(1), torch.zeros(1))
    seconds = complexity.latencies([lambda *_: calls.append("a"), lambda *_: calls.append("b")], given, rounds=2)
    assert calls == ["a", "b"] * 3 and len(seconds) == 2


@pytest.mark.slow
def test_tables(tmp_path: Path) -> None:
    command = [sys.executable, "tools/analysis/complexity.py", "--arch", "tiny", "--batch", "1", "--rounds", "1"]
    result = subprocess.run([*command, "--out", str(tmp_path / "c.json")], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "c.json").read_text())
    rows = {row["task"]: row for row in found["rows"]}
    assert set(rows) == set(found["parameters"]) == {"image", "text", "image_text"}
    assert "FLAVA" in result.stdout and f"{found['threads']} threads" in result.stdout
    pair = rows["image_text"]
    assert pair["gflops"] < pair["flava_gflops"]  # one encoder instead of three
    assert found["parameters"]["image_text"] < found["flava_parameters"]["image_text"]
