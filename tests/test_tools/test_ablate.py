"""The tool that runs ablations: what it plans, what it takes as done, its statistics and its tables."""

import json
import math
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import write_images, write_pairs, write_texts, write_tokenizer
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools" / "demo")]

import ablate  # noqa: E402
import ablation_report as report  # noqa: E402
import ablation_tables as tables  # noqa: E402
import measures  # noqa: E402

from momo.apis import get_config  # noqa: E402
from momo.engine.checkpoint import verify  # noqa: E402
from momo.models import MoMoPretrainer  # noqa: E402

# The paper's printed differences, typed apart from its figures.
PRINTED = {
    "separate_stages": ([2.5, 2.9, 1.3, 1.8, 2.6, 4.0, 11.8], [-1.5], [-1.4, -2.0, -1.4]),
    "simultaneous_stage2": ([0.2, -1.4, -0.2, 0.7, 1.3, 1.8, -1.7], [-43.4], None),
    "shared_decoder": ([1.0, -1.7, 0.6, 0.0, 0.7, 0.8, 1.5], [1.1], None),
    "simultaneous_stage3": ([0.6, -5.9, -0.4, -1.1, -1.8, -5.5, -4.5], [-2.1], [2.6, -0.6, 0.3]),
    "cmga": ([0.2, 1.0, 0.5, 1.6, 1.8, 0.7, 0.7], [0.3], [1.3, 3.1, 0.9]),
    "images_stage3": (None, None, None),
}
# Where the paper's figures of a run stand in the configs of its size.
AT_PAPER_SCALE = {
    ("separate_stages", 0): "combined_vitb",
    ("separate_stages", 1): "separate_stage3_vitb",
    ("simultaneous_stage2", 1): "stage2_text_only_vitb",
    ("shared_decoder", 0): "stage2_shared_decoder_vitb",
    ("simultaneous_stage3", 1): "stage3_pairs_only_vitb",
    ("cmga", 0): "stage3_no_cmga_50k_vitb",
    ("cmga", 1): "stage3_cmga_50k_vitb",
}


@pytest.mark.parametrize("key", tables.COMPARISONS)
def test_the_paper_s_differences_are_those_it_prints(key: str) -> None:
    comparison = tables.COMPARISONS[key]
    for (modality, tasks), printed in zip(tables.TASKS.items(), PRINTED[key], strict=True):
        if printed is None:
            assert modality not in comparison.paper
            assert tables.paper_difference(comparison, modality) is None
            continue
        first, second = comparison.paper[modality]
        assert len(first) == len(second) == len(tasks)
        assert [b - a for a, b in zip(first, second, strict=True)] == pytest.approx(printed, abs=1e-6)
        assert tables.paper_difference(comparison, modality) == pytest.approx(sum(printed) / len(printed))


@pytest.mark.parametrize(("key", "side"), AT_PAPER_SCALE)
def test_configs_and_tool_agree_on_the_paper_s_figures(key: str, side: int) -> None:
    expected = (ROOT / "configs/ablations" / f"{AT_PAPER_SCALE[key, side]}.py").read_text().split("Expected: ")[1]
    named = {task: float(value) for task, value in re.findall(r"([A-Z][\w-]+) (\d+\.\d)", expected.split("(paper")[0])}
    paper = tables.COMPARISONS[key].paper
    assert named == {
        task: value for name in paper for task, value in zip(tables.TASKS[name], paper[name][side], strict=True)
    }


def test_every_run_comes_after_what_it_starts_from() -> None:
    assert tables.needed(["shared_decoder"]) == ["stage1", "stage2_shared_decoder", "stage2"]
    names = tables.needed([key for table in tables.TABLES for key in tables.chosen(table)])
    assert set(names) == set(tables.RUNS)
    for place, name in enumerate(names):
        assert tables.RUNS[name].after is None or tables.RUNS[name].after in names[:place]
    assert set().union(*(tables.chosen(table) for table in tables.TABLES)) == set(tables.COMPARISONS)
    assert len(tables.chosen("table6")) == 4


@pytest.mark.parametrize("name", tables.RUNS)
def test_a_run_starts_from_the_stage_that_its_config_names(name: str) -> None:
    hooks = get_config(tables.RUNS[name].config).custom_hooks
    made_by = next((hook.made_by for hook in hooks if hook.type == "StageHook"), None)
    after = tables.RUNS[name].after
    assert made_by == (after and f"tools/dist_train.sh configs/{tables.RUNS[after].config}.py 1")


def test_mean_and_standard_error_by_hand() -> None:
    assert report.mean_and_error([1.0, 2.0, 6.0]) == pytest.approx({"mean": 3.0, "standard_error": math.sqrt(7 / 3)})
    assert report.mean_and_error([0.5, 0.5]) == {"mean": 0.5, "standard_error": 0.0}
    assert report.mean_and_error([0.25]) == {"mean": 0.25, "standard_error": None}


def fabricated(seeds: int) -> dict:
    """Runs of stage 2: seeds differ by whole units, the two runs by about 0.1."""
    draw = np.random.default_rng(0)
    gains = draw.normal(0.1, 0.01, seeds)
    both = "masked-image loss", "masked-text cross-entropy"
    return {
        "stage2": [{name: (float(seed), 7) for name in (*both, "fluent captions, recall@1")} for seed in range(seeds)],
        "stage2_text_only": [{name: (seed + float(gains[seed]), 7) for name in both} for seed in range(seeds)],
    }


def test_differences_are_taken_seed_by_seed() -> None:
    figures = fabricated(4)
    rows = report.compare("simultaneous_stage2", figures)["rows"]
    assert [row["measure"] for row in rows] == ["masked-image loss", "masked-text cross-entropy"]  # what both have
    gains = [figures["stage2_text_only"][seed]["masked-image loss"][0] - seed for seed in range(4)]
    for row in rows:
        assert row["difference"]["mean"] == pytest.approx(np.mean(gains))
        assert row["difference"]["standard_error"] == pytest.approx(np.std(gains, ddof=1) / 2)
        assert row["difference"]["standard_error"] < 0.02 < 0.6 < row["first"]["standard_error"]
    assert rows[0]["paper_difference"] == pytest.approx(-43.4)
    assert rows[1]["paper_difference"] == pytest.approx(sum(PRINTED["simultaneous_stage2"][0]) / 7)


@pytest.mark.parametrize(("seeds", "error", "said"), [(1, "-", "1 seed,"), (3, "0.577", "3 seeds,")])
def test_tables_always_show_seeds_and_errors(seeds: int, error: str, said: str) -> None:
    results = {"table": "table6", "seeds": list(range(seeds)), "split": "val", "scale": 0.5}
    results["comparisons"] = [report.compare("simultaneous_stage2", fabricated(seeds))]
    text = report.as_markdown(results)
    assert said in text and "val split" in text and "0.5 of the demo's steps" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| masked-image loss ↓")]
    _, name, n, first, second, difference, paper, _ = (cell.strip() for cell in line.split("|"))
    assert (n, paper) == ("7", "-43.4 vision (1)")
    assert first == f"{(seeds - 1) / 2:.3f} ± {error}"
    assert difference.startswith("+0.1") and difference.endswith("± -") == (seeds == 1)
    columns = report.as_table(results["comparisons"][0], results).columns
    assert [list(column.cells)[0] for column in columns] == [name, n, first, second, difference, paper]


def planned(scale: float = 1.0, stamp: str = "kit", seeds: int = 2) -> dict[tuple[int, str], ablate.Planned]:
    names = tables.needed(["shared_decoder"])
    return {(job.seed, job.name): job for job in ablate.plan(names, seeds, Path("work"), scale, stamp)}


def test_commands_are_ordinary_ones_and_start_from_their_own_seed() -> None:
    jobs = planned()
    assert list(jobs) == [(seed, name) for seed in (0, 1) for name in ("stage1", "stage2_shared_decoder", "stage2")]
    assert jobs[0, "stage1"].command == (
        "tools/dist_train.sh configs/demo/stage1.py 1 --work-dir work/seed0/stage1 --cfg-options randomness.seed=0"
    )
    assert jobs[1, "stage2_shared_decoder"].command == (
        "tools/dist_train.sh configs/ablations/demo_stage2_shared_decoder.py 1 "
        "--work-dir work/seed1/stage2_shared_decoder "
        "--cfg-options randomness.seed=1 custom_hooks.1.checkpoint=work/seed1/stage1"
    )


def test_a_run_is_another_when_anything_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {key: job.fingerprint for key, job in planned().items()}
    assert len(set(first.values())) == len(first)
    assert first == {key: job.fingerprint for key, job in planned().items()}
    assert not set(first.values()) & {job.fingerprint for job in planned(stamp="other").values()}
    original = get_config

    def changed(name: str) -> Config:
        cfg = original(name)
        if name == "demo/stage1":
            cfg.optim_wrapper.optimizer.lr = 1.0
        return cfg

    monkeypatch.setattr("momo.apis.get_config", changed)
    assert not set(first.values()) & {job.fingerprint for job in planned().values()}


def test_done_runs_are_skipped_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """`true` and `false` stand for commands that succeed and fail; an interrupted run is not done."""
    jobs = [ablate.Planned(name, 0, tmp_path / name, "true", f"{name} 1") for name in ("a", "b")]
    ledger = ablate.Ledger(tmp_path / "done.json")
    ablate.train_all(jobs, ledger)
    for job in jobs:
        job.work_dir.mkdir()
        (job.work_dir / "epoch_1.pth").touch()
        (job.work_dir / "last_checkpoint").write_text(str(job.work_dir / "epoch_1.pth"))
    failing = [job._replace(command="false") for job in jobs]
    ablate.train_all(failing, ablate.Ledger(tmp_path / "done.json"))  # runs nothing, so nothing fails
    assert capsys.readouterr().out.count("done before") == 2

    with pytest.raises(SystemExit, match="failed with exit code 1: false"):
        ablate.train_all([failing[0], failing[1]._replace(fingerprint="b 2")], ablate.Ledger(tmp_path / "done.json"))
    again = ablate.Ledger(tmp_path / "done.json")
    assert (again.entry(jobs[0]) is not None, again.entry(jobs[1])) == (True, None)  # b's folder may have changed
    (tmp_path / "a" / "last_checkpoint").unlink()
    with pytest.raises(SystemExit, match="false"):
        ablate.train_all(failing[:1], again)


# ------------------------------------------------------------------ the real thing, tiny
def write_kit(kit: Path) -> None:
    """A kit for stages 1 and 2 in the shape of tools/demo/prepare_kit.py's."""
    write_images(kit / "all", 66 + 10 + 12, size=48)
    pictures = iter(sorted((kit / "all").rglob("*.png"), key=lambda path: path.stem))
    for number, (split, count) in enumerate((("train", 66), ("val", 10), ("test", 12))):
        for path in islice(pictures, count):
            place = kit / "images" / split / path.parent.name
            place.mkdir(parents=True, exist_ok=True)
            path.rename(place / path.name)
        write_texts(kit / "text" / split / "texts.txt", 50 if split == "train" else 6 + number, start=1000 * number)
        paths = sorted((kit / "images" / split).rglob("*.png"))
        rows = [
            {"image": str(path.relative_to(kit / "images")), "label": int(path.parent.name == "odd")} for path in paths
        ]
        (kit / f"groups_{split}.json").write_text(json.dumps(rows))
        pairs = kit / f"pairs_{split}.json"
        write_pairs(pairs, kit / "images" / split)
        rows = [{**row, "image": f"{split}/{row['image']}"} for row in json.loads(pairs.read_text())]
        for source in ("fluent", "openmoji"):
            (kit / f"pairs_{split}_{source}.json").write_text(json.dumps(rows))
    write_tokenizer(kit / "tokenizer")
    (kit / "kit.json").write_text("{}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This project with another kit."""
    root = tmp_path_factory.mktemp("project")
    for name in ("configs", "momo", "tools"):
        (root / name).symlink_to(ROOT / name)
    write_kit(root / "data" / "kit")
    return root


def run_tool(project: Path, *arguments: str) -> str:
    command = [sys.executable, "tools/ablate.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_share_of_the_steps_has_the_same_share_of_warm_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """66 pictures are a step of 64, so 6 epochs are 6 steps; the warm-up of half an epoch would be none."""
    monkeypatch.chdir(project)
    cfg = get_config("demo/stage1").to_dict()
    changed = get_config("demo/stage1")
    for scale, epochs, steps, warm_up in ((0.5, 6, 3, 1), (0.01, 6, 2, 1), (0.1, 600, 60, 5)):
        cfg["train_cfg"]["max_epochs"], cfg["param_scheduler"][0]["end"] = epochs, epochs / 12
        changed.merge_from_dict(dict(pair.split("=") for pair in ablate.shortened(cfg, 1, scale)))
        assert changed.train_cfg.max_iters == str(steps) and changed.train_cfg.max_epochs == "None"
        assert changed.param_scheduler[0].end == changed.param_scheduler[1].begin == str(warm_up)
        assert {scheduler.by_epoch for scheduler in changed.param_scheduler} == {"False"}


@pytest.mark.slow
def test_one_comparison_runs_from_commands_to_table(project: Path) -> None:
    arguments = "shared_decoder", "--seeds", "1", "--scale", "0.4", "--work-dir", "out"
    printed = run_tool(project, *arguments)
    assert printed.count("] $ tools/dist_train.sh") == 3
    results = json.loads((project / "out/shared_decoder.json").read_text())
    (comparison,) = results["comparisons"]
    assert [row["measure"] for row in comparison["rows"]] == list(report.MODALITY)[:3]
    assert [row["samples"] for row in comparison["rows"]] == [10, 10, 7]
    for row in comparison["rows"]:
        for side in ("first", "second"):
            assert np.isfinite(row[side]["values"]).all() and row[side]["standard_error"] is None
    text = (project / "out/shared_decoder.md").read_text()
    assert "1 seed" in text and "± -" in text
    for name in ("stage1", "stage2", "stage2_shared_decoder"):
        assert verify(project / "out/seed0" / name / "epoch_2").step == 2  # 0.4 of 6 steps, and the least there is

    again = run_tool(project, *arguments)
    assert "] $ " not in again and "measuring" not in again
    assert json.loads((project / "out/shared_decoder.json").read_text()) == results


# ------------------------------------------------------------------ measures
def test_splits_of_the_kit_are_the_config_s() -> None:
    kit = get_config(measures.KIT_CONFIG)
    assert set(kit["_held_out"]) == {"val", "test"}
    for split, loaders in kit["_held_out"].items():
        assert loaders["image"]["dataset"]["root"] == f"data/kit/images/{split}"
        assert list(loaders["text"]["dataset"]["files"]) == [f"data/kit/text/{split}/*.txt"]
    stage = get_config("demo/stage2")
    for modality in ("image", "text"):
        assert stage.val_dataloader.loaders[modality] == kit["_held_out"]["val"][modality]


def test_held_out_loss_reads_the_split_it_is_asked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    model: MoMoPretrainer = measures.get_model("demo/stage2")
    found = {
        (modality, split): measures.held_out_loss(model, modality, name, split)
        for modality, name in (("image", "mim_loss_pixels"), ("text", "mlm_loss_words"))
        for split in ("val", "test")
    }
    assert {key: n for key, (_, n) in found.items()} == {
        ("image", "val"): 10,
        ("image", "test"): 12,
        ("text", "val"): 7,
        ("text", "test"): 8,
    }
    assert found["image", "val"][0] != found["image", "test"][0]
    assert measures.held_out_loss(model, "image", "mim_loss_pixels") == found["image", "test"]
    assert measures.unigram_cross_entropy(model, "val") != measures.unigram_cross_entropy(model, "test")


def test_a_validation_probe_never_learns_from_what_it_measures(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit, given, original = project / "data" / "kit", [], measures.linear_probe

    def recorded(*splits):
        given.append([{bytes(row) for row in features} for features, _ in splits])
        return original(*splits)

    def features(images: list) -> np.ndarray:
        return np.stack([image.float().mean((1, 2)).numpy() for image in images])

    monkeypatch.setattr(measures, "linear_probe", recorded)
    assert [measures.probe(kit, "groups", features, split)[1] for split in ("val", "test")] == [10, 12]
    (train, chosen_on, val), (whole, other, test) = given
    assert (len(train), len(chosen_on), len(val)) == (58, 8, 10)  # every eighth of 66 chooses
    assert (len(whole), len(other), len(test)) == (66, 10, 12)
    assert (train | chosen_on, val) == (whole, other)
    assert not train & chosen_on and not (train | chosen_on) & val and not (whole | other) & test


def test_a_model_of_several_runs_must_be_filled(tmp_path: Path) -> None:
    model = measures.get_model("demo/stage2")
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    parts = {
        "before": {name: value for name, value in state.items() if not name.startswith("decoders.text")},
        "after": {name: value + 1 for name, value in state.items() if not name.startswith("decoders.image")},
    }
    for name, weights in parts.items():
        (tmp_path / name).mkdir()
        torch.save({"state_dict": weights}, tmp_path / name / "epoch_1.pth")
        (tmp_path / name / "last_checkpoint").write_text("epoch_1.pth")
    both = measures.model_of("demo/stage2", tmp_path / "before", tmp_path / "after").state_dict()
    for name, value in both.items():
        source = parts["before" if name.startswith("decoders.image") else "after"]
        assert torch.equal(value, source[name])
    with pytest.raises(ValueError, match=r"demo/stage2: \['decoders.image.*are in none of"):
        measures.model_of("demo/stage2", tmp_path / "after")
    with pytest.raises(FileNotFoundError, match="missing has no checkpoint"):
        measures.model_of("demo/stage2", tmp_path / "missing")
