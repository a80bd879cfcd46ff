"""The tables: what is run, what is missing, what is averaged; and a real run with one set there and the rest not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny import tiny_pretrainer
from helpers.vision_sets import WRITERS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from evaluation import paper, plan, running, tables  # noqa: E402


def test_published_averages_come_out_of_the_published_rows() -> None:
    for group, published in paper.PUBLISHED_AVERAGES.items():
        rows = paper.TABLE_3[group]
        assert len(rows) == {"Language": 7, "Vision": 15, "Multimodal": 9}[group]
        for column, value in zip(("momo", "flava", "clip"), published, strict=True):
            mean = sum(getattr(row, column) for row in rows) / len(rows)
            # Two of the paper's averages are not those of its rows.
            slips = {("Vision", "clip"): 87.0, ("Multimodal", "flava"): 67.4}
            assert mean == pytest.approx(slips.get((group, column), value), abs=0.1), (group, column)


def test_the_tables_agree_where_they_say_the_same() -> None:
    third = {row.name: row.momo for rows in paper.TABLE_3.values() for row in rows}
    for name, (own, *_) in paper.TABLE_2.items():
        if name in third:
            assert sum(own) / len(own) == pytest.approx(third[name], abs=0.1), name
        else:
            recalls = [value for row, value in third.items() if row.startswith(name)]
            assert sum(recalls) / 4 == pytest.approx(own[0], abs=0.3), name
        assert paper.TABLE_4[name][2] == pytest.approx(sum(own) / len(own), abs=0.1)


def test_every_row_has_its_evaluation_and_config() -> None:
    for group, rows in plan.ROWS.items():
        assert [row.name for row in rows] == [row.name for row in paper.TABLE_3[group]]
        assert {row.evaluation for row in rows} <= set(plan.EVALUATIONS)
    assert {row.name for row in plan.TABLE_2_ROWS} == set(paper.TABLE_2) == set(paper.TABLE_4)
    for evaluation in plan.EVALUATIONS.values():
        assert (ROOT / "configs" / "downstream" / f"{evaluation.config}.py").is_file()


def everything(value: float = 0.5) -> dict[str, dict[str, float]]:
    names = {figure for rows in plan.ROWS.values() for row in rows for figure in row.figures}
    return {name: dict.fromkeys(names, value) for name in plan.EVALUATIONS}


def test_scores_and_averages() -> None:
    metrics = everything()
    metrics["glue_mrpc"] = {"accuracy": 0.8, "f1": 0.9}
    rows = {row[0]: row for row in tables.table_3(metrics, {}).rows}
    assert rows["MRPC"][2:] == ("85.0", "84.2", "84.2", "69.9", "+0.8")
    assert rows["Language average"][2] == "55.0"  # (85 + 6 x 50) / 7
    assert {row[0]: row for row in tables.table_2(metrics, {}).rows}["MRPC"][1:3] == ("80.0/90.0", "81.3/87.0")
    bars = {(bar.group, bar.label): bar.value for bar in tables.averages(metrics)}
    assert bars["Macro average", "here"] == pytest.approx((55 + 50 + 50) / 3)
    assert bars["Macro average", "FLAVA"] == pytest.approx((82.1 + 82.5 + 68.2) / 3)
    with pytest.raises(ValueError, match=r"glue_mrpc: the figures \['accuracy'\] lack \['f1'\]"):
        tables.table_3({"glue_mrpc": {"accuracy": 0.8}}, {})


def test_what_is_not_there_is_no_number() -> None:
    metrics = everything()
    del metrics["glue_rte"]
    grid = tables.table_3(metrics, {"glue_rte": "missing: put RTE at /data/glue/RTE"})
    rows = {row[0]: row for row in grid.rows}
    assert rows["RTE"][2] == "missing: put RTE at /data/glue/RTE" and rows["RTE"][-1] == ""
    assert rows["Language average"][2] == "- (6 of 7)"
    bars = {(bar.group, bar.label): bar.value for bar in tables.averages(metrics)}
    assert bars["Language", "here"] is None and bars["Macro average", "here"] is None
    page = tables.html("title", [grid], tables.averages(metrics))
    assert all(row[0] in page for row in grid.rows) and "put RTE at" in page
    assert tables.markdown(grid).count("\n| ") == len(grid.rows) + 1


def test_table_4_has_a_column_a_stage() -> None:
    stages = {f"stage {n}": everything(n / 10) for n in (1, 2, 3)}
    for n in (1, 2):
        del stages[f"stage {n}"]["retrieval_coco"]
    rows = {row[0]: row[1:] for row in tables.table_4(stages, {}).rows}
    assert rows["MNLI"] == ("10.0", "20.0", "30.0", "59.0", "78.5", "78.1")
    assert rows["COCO"] == ("-", "-", "30.0", "-", "-", "64.0")


def test_paths_are_moved_and_what_is_missing_named(tmp_path: Path) -> None:
    config = dict(a=[dict(root="data/glue/RTE", tokenizer="data/bert")], _root=dict(root="data/x"), other="data/y")
    paths = running.data_paths(config, tmp_path)
    assert paths == {"a.0.root": tmp_path / "glue/RTE", "a.0.tokenizer": tmp_path / "bert"}
    evaluation = plan.EVALUATIONS["glue_rte"]
    assert running.missing(evaluation, paths) == f"missing: put {evaluation.needs} at {tmp_path / 'glue/RTE'}"
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    assert running.missing(evaluation, paths) == f"missing: put the uncased BERT vocab.txt at {tmp_path / 'bert'}"
    (tmp_path / "bert").mkdir()
    assert running.missing(evaluation, paths) == ""


@pytest.mark.slow
def test_real_run(tmp_path: Path) -> None:
    """One set is there, one is broken, the rest is missing; the second run repeats only what is not done."""
    checkpoint = tmp_path / "stage3.pth"
    model = tiny_pretrainer(3, arch="tiny", img_size=224, patch_size=32)
    torch.save({"state_dict": model.state_dict()}, checkpoint)
    WRITERS["food101"](tmp_path / "data" / "food101")
    (tmp_path / "data" / "dtd").mkdir()
    command = [sys.executable, "tools/evaluate_all.py", str(checkpoint), "--data-root", str(tmp_path / "data")]
    command += ["--out", str(tmp_path / "out"), "--only", "linear_food101", "linear_dtd", "glue_mnli", "--cfg-options"]
    command += ["model.backbone.arch=tiny", "model.backbone.patch_size=32", "test_dataloader.num_workers=0"]
    for run in range(2):
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == 1 and "1 evaluations failed: stage 3: linear_dtd" in result.stderr, result.stderr
        assert ("linear_food101: done before" in result.stdout) is (run == 1)
        assert "missing: put MNLI: train and dev" in result.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["metrics"]["stage 3"]) == {"linear_food101"}
    assert set(results["problems"]) == {"linear_dtd", "glue_mnli"} and "dtd" in results["problems"]["linear_dtd"]
    page = (tmp_path / "out" / "tables.html").read_text()
    assert "failed: " in page and f"{100 * results['metrics']['stage 3']['linear_food101']['accuracy']:.1f}" in page
