"""The harness in small: both sides of a case do the same job, and the table says what was measured. No timing."""

import importlib
import io
import json
import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import momo_steps  # noqa: E402
import peer_steps  # noqa: E402
import side_by_side  # noqa: E402
import speed  # noqa: E402
from cases import CASES, GEMM, MOMO, REUSED, WITH, WITHOUT  # noqa: E402
from side_by_side import Measured, Side, Turn, measure  # noqa: E402
from sizes import SIZES, token_lengths  # noqa: E402
from step import count_flops, step_of  # noqa: E402

TINY = SIZES["tiny"]
DIM, PATCH, VOCABULARY = TINY.width, TINY.patch, TINY.vocabulary


@cache
def result_and_flops(case: str, name: str) -> tuple[torch.Tensor, int]:
    """What a side of a case gives at the tiny size, and what its matrix products cost."""
    side = CASES[case]().sides[name]
    module, function = side.work.split(".")
    torch.manual_seed(0)
    step, results = step_of(getattr(importlib.import_module(module), function)(TINY, **side.settings), side.half), []
    return results[0] if (flops := count_flops(lambda: results.append(step()))) else None, flops


def flops_of(case: str, name: str) -> int:
    return result_and_flops(case, name)[1]


def turn(seconds: float, flops: float = 1.0, peak: float = 1.0, grown: float = 1.0) -> Turn:
    return Turn(seconds, 2 * seconds, flops, peak, grown)


# ------------------------------------------------------------------ both sides do the same job
def test_mae_of_timm_costs_what_ours_does_but_for_what_ours_leaves_out() -> None:
    """Ours projects visible patches only, and predicts hidden ones only."""
    pytest.importorskip("timm")
    pixels, kept, hidden = 3 * PATCH**2, TINY.patches // 4, TINY.patches - TINY.patches // 4
    projected = 2 * 2 * 8 * hidden * pixels * DIM  # forward and the weight's gradient; pixels need none
    predicted = 3 * 2 * 8 * (1 + kept) * TINY.decoder_width * pixels
    assert flops_of("mim", "timm's MAE") - flops_of("mim", MOMO) == projected + predicted


@pytest.mark.parametrize("name", ["transformers' ViTMAE", pytest.param("mmpretrain's MAE", marks=pytest.mark.slow)])
def test_maes_cost_the_same(name: str) -> None:
    pytest.importorskip("timm")
    assert flops_of("mim", name) == flops_of("mim", "timm's MAE")


@pytest.mark.parametrize("case", ["mlm_captions", "mlm_16x128"])
def test_bert_and_ours_read_the_same_tokens_and_predict_as_many(case: str) -> None:
    texts = CASES[case]().sides[MOMO].settings["texts"]
    words, lengths = peer_steps._words(TINY, texts), token_lengths(*texts)
    assert words.valid.sum(1).tolist() == lengths.tolist()
    batch = momo_steps._pretrainer(2, TINY).planners("text")
    samples = momo_steps.MadeSamples(len(lengths), lengths.tolist(), None, VOCABULARY)
    ours = momo_steps.PackedCollate(batch)([samples[i] for i in range(len(lengths))])
    assert (1 + ours["word_counts"]).tolist() == lengths.tolist()  # [CLS]
    hidden = len(ours["plans"]["mlm"].decode.hidden_words)
    assert abs(hidden - int(words.hidden.sum())) <= len(lengths)  # a word a text, by rounding
    assert not words.hidden[(words.valid == 0) | (words.ids == peer_steps.CLS) | (words.ids == peer_steps.SEP)].any()


def test_bert_pays_for_padding_and_for_logits_of_all_rows() -> None:
    names = [name for name in CASES["mlm_captions"]().sides if name.startswith("BERT")]
    rows = {"BERT padded to 64": 16 * 64, "BERT padded to the longest": 16 * int(token_lengths(16, 12, 64).max())}
    assert sorted(names) == sorted(rows)
    for name, tokens in rows.items():
        logits, linear = 3 * 2 * DIM * (VOCABULARY + DIM), TINY.depth * 3 * 2 * 12 * DIM**2
        attention = TINY.depth * 2 * 2 * DIM * (tokens // 16)  # a row's two products, forward
        ratio = (flops_of("mlm_captions", name) - tokens * (logits + linear)) / (tokens * attention)
        assert 3 <= ratio <= 3.5  # and backward: twice that, or 2.5 times where the kernel computes scores again


def test_flava_costs_more_and_its_codebook_yet_more() -> None:
    ours, without, with_codebook = (flops_of("pairs", name) for name in (MOMO, WITHOUT, WITH))
    assert ours < without < with_codebook
    loss = result_and_flops("pairs", WITH)[0]
    assert loss.ndim == 0 and loss.isfinite() and result_and_flops("pairs", MOMO)[0].isfinite()


def test_a_step_of_stage_2_costs_the_sum_of_its_parts() -> None:
    whole, images, texts = (flops_of("stage2", name) for name in (MOMO, "images", "texts"))
    assert whole == images + texts


@pytest.mark.parametrize(
    ("case", "shape"),
    [
        ("vqa_1", (1, 3129)),
        ("vqa_8", (8, 3129)),
        ("text_embeddings", (16, None)),
        ("image_embeddings", (8, None)),
    ],
)
def test_forward_passes_give_as_much(case: str, shape: tuple) -> None:
    for name in CASES[case]().sides:
        if name in (GEMM, "open_clip"):  # 25 million word weights: below, once
            continue
        result = result_and_flops(case, name)[0]
        assert tuple(result.shape) == (shape[0], shape[1] or DIM) and result.isfinite().all()


def test_costs_are_of_the_stated_sizes() -> None:
    one, ten = (flops_of("tokens", name) for name in ("1,000 tokens", "10,000 tokens"))
    assert ten == 10 * one
    assert one == 3 * 2 * 1000 * 12 * DIM**2 + 3.5 * 2 * 2 * 1000 * 50 * DIM
    assert flops_of("mim", GEMM) == 8 * 2 * 1576 * 3072 * 768


def test_hollow_steps_have_the_layers_and_next_to_no_numbers() -> None:
    for size in SIZES.values():
        hollow = size.hollow()
        assert (hollow.depth, hollow.heads, hollow.decoder_depth) == (size.depth, size.heads, size.decoder_depth)
        assert hollow.patches == 4 and hollow.width <= 24 and hollow.width % 4 == 0


def test_lengths_are_fixed_skewed_and_in_order() -> None:
    assert token_lengths(3, 128).tolist() == [128, 128, 128]
    lengths = token_lengths(1000, 12, 64)
    assert np.array_equal(lengths, token_lengths(1000, 12, 64)) and np.all(np.diff(lengths) >= 0)
    assert lengths.min() >= 5 and lengths.max() <= 64 and 11.5 < lengths.mean() < 12.5
    assert np.median(lengths) < lengths.mean()


# ------------------------------------------------------------------ targets and table, on numbers made by hand
def judged(case: str, rounds: list[dict[str, Turn]], missing: dict[str, str] | None = None) -> list[speed.Row]:
    measured = Measured(rounds, missing or {}, 0.02)
    return [speed.row_of(case, target, measured) for target in CASES[case]().targets]


def test_figures_are_medians_of_ratios_within_rounds() -> None:
    rounds = [
        {MOMO: turn(2.0, 800), "timm's MAE": turn(peer), "mmpretrain's MAE": turn(2.3), GEMM: turn(1.0, 500)}
        for peer in (1.8, 2.2, 3.0)
    ]
    timm, mmpretrain, transformers, peak = judged("mim", rounds, {"transformers' ViTMAE": "transformers"})
    assert timm.figures["wall"] == pytest.approx([1.1, 0.9, 1.5]) == timm.figures["processor"] and timm.met
    assert mmpretrain.figures["wall"][0] == pytest.approx(1.15) and mmpretrain.met
    assert transformers.missing == "transformers" and transformers.met is None and transformers.figures == {}
    assert peak.figures["wall"][0] == pytest.approx(0.8) == timm.gemm and peak.met is False  # 400 of 500 FLOP/s


def test_memory_times_and_costs_are_judged_by_their_own_limits() -> None:
    pairs = {MOMO: turn(10, peak=600), REUSED: turn(7.2, peak=540), WITHOUT: turn(15.9, peak=900)}
    pairs |= {WITH: turn(19.1, peak=1001), GEMM: turn(1)}
    assert [row.met for row in judged("pairs", [pairs])] == [False, True, False, True] + [True] * 4
    (stage2,) = judged("stage2", [{MOMO: turn(10.2), "images": turn(4), "texts": turn(6), GEMM: turn(1)}])
    assert stage2.figures["wall"][0] == pytest.approx(1.02) and stage2.met
    assert judged("cmga", [{"joint": turn(11), "sequential": turn(10.9), GEMM: turn(1)}])[0].met is False
    assert judged("overhead", [{MOMO: turn(4, 8), "hollow": turn(0.1), GEMM: turn(1, 4)}])[0].gemm == 0.5
    assert judged("loop", [{"loop": turn(1.03), "step": turn(1), GEMM: turn(1)}])[0].met is False
    times = {"1,000 tokens": 1.0, "10,000 tokens": 9.5, "50,000 tokens": 54.0}
    assert judged("tokens", [{name: turn(seconds) for name, seconds in times.items()}])[0].figures["wall"][0] == (
        pytest.approx(1.08 / 0.95)
    )


@pytest.mark.parametrize(
    ("grown", "bend", "met"), [((30, 50, 90), 1.0, True), ((11, 14, 26), 2.0, False), ((9, 9, 9), math.inf, False)]
)
def test_memory_that_bends_is_told_from_a_line(grown: tuple, bend: float, met: bool) -> None:
    names = [f"{local} of 16,384 pairs" for local in (256, 512, 1024)]
    (row,) = judged("itc_memory", [{name: turn(1, grown=value) for name, value in zip(names, grown, strict=True)}])
    assert row.figures["wall"][0] == pytest.approx(bend) and row.met is met and row.gemm is None


def test_the_table_says_met_missed_and_what_is_needed() -> None:
    rounds = [{MOMO: turn(2.0, 800), "timm's MAE": turn(2.2), "mmpretrain's MAE": turn(2.2), GEMM: turn(1.0, 500)}]
    console = Console(file=io.StringIO(), width=200)
    console.print(speed.as_table(judged("mim", rounds, {"transformers' ViTMAE": "transformers"})))
    lines = [line for line in console.file.getvalue().splitlines() if "mim" in line]
    words = [" ".join(line.replace("│", " ").split()) for line in lines]
    assert words == [
        "mim at least 1 x as fast as timm's MAE 1.100 1.100 - 1.100 1.100 0.80 2% met",
        "mim at least 1.12 x as fast as mmpretrain's MAE 1.100 1.100 - 1.100 1.100 0.80 2% MISSED",
        "mim at least 1.12 x as fast as transformers' ViTMAE needs transformers",
        "mim at least 0.85 of the GEMM rate 0.800 0.800 - 0.800 0.800 0.80 2% MISSED",
    ]


def test_every_target_is_about_sides_of_its_case() -> None:
    for name, case in ((name, case()) for name, case in CASES.items()):
        assert case.targets, name
        for target in case.targets:
            assert {target.own, *target.needs} <= set(case.sides), name
        for side in case.sides.values():
            module, function = side.work.split(".")
            assert callable(getattr({"momo_steps": momo_steps, "peer_steps": peer_steps}[module], function)), name


# ------------------------------------------------------------------ processes
@pytest.mark.slow
def test_sides_take_turns_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    (tmp_path / "lacking.py").write_text("import a_package_that_nobody_has\n")
    (tmp_path / "broken.py").write_text("def work(size):\n    raise ValueError('no such luck')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sides = {"A": Side("peer_steps.gemm", dict(half=False)), "B": Side("lacking.work"), "C": CASES["mim"]().sides[MOMO]}
    calls = []
    measured = measure(sides, 2, "tiny", 1, lambda: calls.append(1))
    assert [list(turns) for turns in measured.rounds] == [["A", "C"], ["A", "C"]] and len(calls) == 3
    assert measured.missing == {"B": "a_package_that_nobody_has"} and 0 <= measured.others <= 1
    first = measured.rounds[0]
    assert first["A"].flops == flops_of("mim", GEMM) and first["C"].flops == flops_of("mim", MOMO)
    assert all(min(turn.wall, turn.processor, turn.peak) > 0 for turn in first.values())
    with pytest.raises(RuntimeError, match="D failed:.*\n(.*\n)+ValueError: no such luck"):
        measure({"D": Side("broken.work")}, 1, "tiny", 1)


@pytest.mark.slow
def test_the_command_writes_what_it_prints(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("psutil")
    out = tmp_path / "speed.json"
    command = ["speed.py", "--quick", "--threads", "1", "--only", "itc_memory", "loop_demo", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    speed.main()
    found = json.loads(out.read_text())
    assert [row["case"] for row in found["rows"]] == ["itc_memory", "loop_demo"]
    assert set(found["cases"]["loop_demo"]["turns"]) == {"loop", "step", GEMM}
    printed = capsys.readouterr().out
    assert all(f"{row['figures']['wall'][0]:.3f}" in printed for row in found["rows"])


def test_load_is_a_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([100.0, 100.0 + 0.5 * side_by_side.os.cpu_count() * 0.25])
    monkeypatch.setattr(side_by_side, "busy_seconds", lambda: next(readings))
    monkeypatch.setattr(side_by_side, "SETTLED", 0.25)
    assert side_by_side.load_of_machine() == pytest.approx(0.5)
