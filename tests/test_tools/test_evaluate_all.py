"""The tables: what is run, what is missing, what is averaged; and real runs with some data there and the rest not."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, write_tokenizer
from helpers.tiny import tiny_pretrainer
from helpers.vision_sets import WRITERS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from evaluation import commands, grid, paper, plan, running, tables  # noqa: E402

from momo.engine.checkpoint import current_run  # noqa: E402


def test_published_averages_come_out_of_the_published_rows() -> None:
    for group, published in paper.PUBLISHED_AVERAGES.items():
        rows = paper.TABLE_3[group]
        assert len(rows) == {"Language": 7, "Vision": 15, "Multimodal": 9}[group]
        for column, value in zip(("momo", "flava", "clip"), published, strict=True):
            mean = sum(getattr(row, column) for row in rows) / len(rows)
            # Two of the paper's averages are not those of its rows.
            slips = {("Vision", "clip"): 87.0, ("Multimodal", "flava"): 67.4}
            assert mean == pytest.approx(slips.get((group, column), value), abs=0.05), (group, column)


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


def test_training_takes_as_many_samples_a_step_as_its_config_says() -> None:
    for evaluation in plan.EVALUATIONS.values():
        file = ROOT / "configs" / "downstream" / f"{evaluation.config}.py"
        docstring = ast.get_docstring(ast.parse(file.read_text()))
        found = re.search(r"tools/dist_train\.sh \S+ (\d+) --test", docstring)
        per_process = running.get_config(file).get("train_dataloader", {}).get("batch_size", 0)
        assert evaluation.batch == (int(found[1]) if found else 0) * per_process, evaluation.config


def everything(value: float = 0.5) -> dict[str, dict[str, float]]:
    names = {figure for rows in plan.ROWS.values() for row in rows for figure in row.figures}
    return {name: dict.fromkeys(names, value) for name in plan.EVALUATIONS}


def texts(table: grid.Grid) -> dict[str, tuple[str, ...]]:
    """What stands in each row, by its label."""
    return {row[0]: tuple(grid.cell(content).text for content in row[1:]) for row in table.rows}


def test_scores_and_averages() -> None:
    metrics = everything()
    metrics["glue_mrpc"] = {"accuracy": 0.8, "f1": 0.9}
    metrics["glue_stsb"] = {"pearson": 0.4, "spearman": 0.6}
    rows = texts(tables.table_3(metrics, {}))
    assert rows["MRPC"][1:] == ("85.0", "84.2", "84.2", "69.9", "+0.8")
    assert rows["STS-B"][1] == "50.0"
    assert rows["Language average"][1] == "55.0"  # (85 + 6 x 50) / 7
    assert texts(tables.table_2(metrics, {}))["MRPC"][:2] == ("80.0/90.0", "81.3/87.0")
    bars = {(bar.group, bar.label): bar.value for bar in tables.averages(metrics)}
    assert bars["Macro average", "here"] == pytest.approx((55 + 50 + 50) / 3)
    assert bars["Macro average", "FLAVA"] == pytest.approx((82.1 + 82.5 + 68.2) / 3)
    with pytest.raises(ValueError, match=r"glue_mrpc: the figures \['accuracy'\] lack \['f1'\]"):
        tables.table_3({"glue_mrpc": {"accuracy": 0.8}}, {})


def test_retrieval_is_the_mean_of_four_recalls_in_table_2() -> None:
    metrics = {"retrieval_coco": {"tr@1": 0.1, "tr@5": 0.2, "tr@10": 0.9, "ir@1": 0.3, "ir@5": 0.6, "ir@10": 0.9}}
    assert texts(tables.table_2(metrics, {}))["COCO"][0] == "30.0"
    rows = texts(tables.table_3(metrics, {}))
    assert [rows[f"COCO {way}"][1] for way in ("TR@1", "TR@5", "IR@1", "IR@5")] == ["10.0", "20.0", "30.0", "60.0"]


def test_what_is_not_there_is_no_number() -> None:
    metrics = everything()
    del metrics["glue_rte"], metrics["glue_mnli"]
    table = tables.table_3(metrics, {"glue_rte": "missing: put RTE at /data/glue/RTE"})
    rows = texts(table)
    assert rows["RTE"][1] == "missing" and rows["RTE"][-1] == "" and rows["MNLI"][1] == "not run"
    assert rows["Language average"][1] == "- (5 of 7)" and rows["Language average"][-1] == ""
    bars = {(bar.group, bar.label): bar for bar in tables.averages(metrics)}
    assert bars["Language", "here"].value is None and bars["Language", "here"].lacking == "- (5 of 7)"
    assert bars["Macro average", "here"].value is None and bars["Macro average", "here"].lacking == "- (2 of 3)"
    page = grid.html("title", [table], tables.averages(metrics))
    assert all(str(row[0]) in page for row in table.rows)
    assert page.count("missing: put RTE at /data/glue/RTE") == 1
    lines = grid.markdown(table).splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(table.rows) + 1
    assert "| RTE | FT | missing: put RTE at /data/glue/RTE | 59.6 | 57.8 | 55.2 |  |" in lines


def test_table_4_has_a_column_a_stage() -> None:
    stages = {f"stage {n}": everything(n / 10) for n in (1, 2, 3)}
    problems = {stage: {} for stage in stages}
    for stage in ("stage 1", "stage 2"):
        del stages[stage]["retrieval_coco"]
        problems[stage]["retrieval_coco"] = "not possible: no contrast"
    del stages["stage 1"]["glue_rte"]
    problems["stage 1"]["glue_rte"] = "failed: out of memory"
    table = tables.table_4(stages, problems)
    rows = texts(table)
    assert rows["MNLI"] == ("10.0", "20.0", "30.0", "59.0", "78.5", "78.1")
    assert [grid.cell(content).note for content in table.rows[0][1:4]] == ["-49.0", "-58.5", "-48.1"]
    assert rows["COCO"] == ("-", "-", "30.0", "-", "-", "64.0")
    assert rows["RTE"][:3] == ("failed", "20.0", "30.0")  # one stage's failure hides no other's figure


def test_a_grid_shows_floors_and_escapes_what_it_is_given() -> None:
    rows = [
        ("words",),
        ("a <b> | c", grid.measured(51.25, floor=50.0, digits=2), grid.measured(49.0, floor=50.0)),
        (grid.Cell("d", note="two"), grid.measured(None, "missing: put X at Y"), grid.measured(None)),
        ("e", grid.measured(None, "missing: put X at Y"), grid.measured(None, "missing: put Z at Y")),
    ]
    table = grid.Grid("Title", "Note.", ("task", "random", "stage 1"), rows)
    assert [grid.cell(content).kind for content in rows[1]] == ["", "own", "low"]
    page = grid.html("T", [table])
    assert "a &lt;b&gt; | c" in page and "51.25<small>floor 50.00</small>" in page
    assert page.count("put X at Y") == 1 and page.count("put Z at Y") == 1
    assert "| a <b> \\| c | 51.25 (floor 50.00) | 49.0 (floor 50.0) |" in grid.markdown(table).splitlines()
    assert "| d (two) | missing: put X at Y | - |" in grid.markdown(table).splitlines()


def settings(tmp_path: Path, **changes) -> commands.Settings:
    checkpoint = tmp_path / "weights.pth"
    given = dict(digest="d", has_text=True, has_contrast=True, gpus=0, options=("x=1",))
    return commands.Settings(
        **{**given, "checkpoint": checkpoint, "data_root": tmp_path / "data", "out": tmp_path / "out", **changes}
    )


def test_paths_are_moved_and_what_is_missing_named(tmp_path: Path) -> None:
    config = dict(a=[dict(root="data/glue/RTE", tokenizer="data/bert")], _root=dict(root="data/x"), other="data/y")
    paths = commands.data_paths(config, tmp_path)
    assert paths == {"a.0.root": tmp_path / "glue/RTE", "a.0.tokenizer": tmp_path / "bert"}
    evaluation = plan.EVALUATIONS["glue_rte"]
    tokenizer = f"put {commands.TOKENIZER} at {tmp_path / 'bert'}"
    assert commands.missing(evaluation, paths) == (
        f"missing: put {evaluation.needs} at {tmp_path / 'glue/RTE'}; {tokenizer}"
    )
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    assert commands.missing(evaluation, paths) == f"missing: {tokenizer}"
    (tmp_path / "bert").mkdir()
    assert commands.missing(evaluation, paths) == ""


def test_every_shipped_config_says_what_to_put_below_the_data_root(tmp_path: Path) -> None:
    for name, evaluation in plan.EVALUATIONS.items():
        config = running.get_config(f"downstream/{evaluation.config}")
        paths = commands.data_paths(config, tmp_path)
        assert any(key.endswith(".root") for key in paths), name
        assert evaluation.needs in commands.missing(evaluation, paths)
        assert "data/" not in str([path.relative_to(tmp_path) for path in paths.values()])


def test_commands(tmp_path: Path) -> None:
    paths = {"a.root": tmp_path / "rte"}
    glue = plan.EVALUATIONS["glue_rte"]
    command = commands.command_of(glue, settings(tmp_path, gpus=8), tmp_path / "run", paths, resume=True)
    assert command[:5] == ["tools/dist_train.sh", "configs/downstream/glue_rte_vitb.py", "8", "--test", "--resume"]
    assert command[-4:] == [
        f"a.root={tmp_path / 'rte'}",
        "train_dataloader.batch_size=4",  # 32 over 8 processes
        f"custom_hooks.1.checkpoint={tmp_path / 'weights.pth'}",
        "x=1",
    ]
    first_stage = commands.command_of(glue, settings(tmp_path, has_text=False), tmp_path / "run", paths)
    assert "custom_hooks.1.new=[head.*,backbone.text_embed.*]" in first_stage
    assert "train_dataloader.batch_size=32" in first_stage and "--resume" not in first_stage
    tested = commands.command_of(plan.EVALUATIONS["linear_dtd"], settings(tmp_path), tmp_path / "run", paths)
    assert tested[1:4] == ["tools/test.py", "configs/downstream/linear_dtd_vitb.py", str(tmp_path / "weights.pth")]
    assert not any(part.startswith(("custom_hooks", "train_dataloader", "--test")) for part in tested)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Evaluations run a script of two lines in place of the tools; the file is what the script does next."""
    script = tmp_path / "script.py"

    def command_of(evaluation, settings, work_dir, paths, *, resume=False):
        return [sys.executable, str(script), str(work_dir), str(resume)]

    monkeypatch.setattr(running, "command_of", command_of)
    for folder in ("food101", "glue/RTE", "bert-base-uncased"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    return script


WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1], 'metrics.json').write_text({!r})"


def test_what_is_done_is_remembered_until_something_changes(tmp_path: Path, stand_in: Path) -> None:
    stand_in.write_text(WRITE.format('{"accuracy": 0.25}'))
    here = settings(tmp_path)
    assert running.recall("linear_food101", here) is None
    done = running.run_evaluation("linear_food101", here)
    assert done == running.Outcome({"accuracy": 0.25})
    assert running.recall("linear_food101", here) == done
    assert running.recall("linear_food101", settings(tmp_path, gpus=4)) == done  # the figures do not depend on it
    for change in (dict(digest="e"), dict(options=("x=2",)), dict(data_root=tmp_path / "other")):
        assert running.recall("linear_food101", settings(tmp_path, **change)) is None
    (tmp_path / "out" / "linear_food101" / "result.json").write_text('{"fingerprint": "ab')  # cut off
    assert running.recall("linear_food101", here) is None


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("print('first'); raise MemoryError('too large')", "failed: MemoryError: too large (see "),
        ("print('nothing written')", "failed: it wrote no figures (see "),
        (WRITE.format('{"loss": 1.0}'), "failed: its figures ['loss'] lack ['accuracy'] (see "),
        (WRITE.format('{"accuracy": NaN}'), "failed: accuracy is no number (see "),
    ],
)
def test_failures_are_recorded_and_leave_no_figure(tmp_path: Path, stand_in: Path, script: str, problem: str) -> None:
    folder = tmp_path / "out" / "linear_food101"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text('{"accuracy": 0.9}')  # of an earlier run
    stand_in.write_text(script)
    outcome = running.run_evaluation("linear_food101", settings(tmp_path))
    assert outcome.failed and outcome.metrics is None and outcome.problem.startswith(problem)
    assert running.recall("linear_food101", settings(tmp_path)) is None
    if "MemoryError" in script:
        assert outcome.log[0] == "first" and "Traceback" in outcome.log[1]


def test_an_interrupted_training_goes_on_but_not_from_another_one(tmp_path: Path, stand_in: Path) -> None:
    pointer = tmp_path / "out" / "glue_rte" / "last_checkpoint"
    stand_in.write_text(
        f"import sys; open({str(pointer)!r}, 'w').write('epoch_1.pth'); sys.exit('resume ' + sys.argv[2])"
    )

    def resumed(**changes) -> bool:
        return "resume True" in running.run_evaluation("glue_rte", settings(tmp_path, **changes)).problem

    assert not resumed()
    begun = current_run(pointer.parent)
    assert resumed() and pointer.is_file() and current_run(pointer.parent) == begun
    stand_in.write_text("import sys; sys.exit('resume ' + sys.argv[2])")
    assert not resumed(digest="another") and not pointer.exists() and current_run(pointer.parent) != begun


def test_retrieval_needs_a_contrastive_objective(tmp_path: Path) -> None:
    outcome = running.run_evaluation("retrieval_coco", settings(tmp_path, has_contrast=False))
    assert outcome.problem.startswith("not possible: ") and not outcome.failed


def evaluate_all(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/evaluate_all.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


TINY = ["model.backbone.patch_size=32", f"model.backbone.vocab_size={len(VOCABULARY)}"]


def save(path: Path, stage: int) -> Path:
    sizes = dict(arch="tiny", img_size=224, patch_size=32, vocab_size=len(VOCABULARY), max_text_len=512)
    torch.save({"state_dict": tiny_pretrainer(stage, **sizes).state_dict()}, path)
    return path


@pytest.mark.slow
def test_real_run(tmp_path: Path) -> None:
    """One set is there, one is broken, the rest is missing; the second run repeats only what is not done."""
    checkpoint = save(tmp_path / "stage3.pth", 3)
    WRITERS["food101"](tmp_path / "data" / "food101")
    (tmp_path / "data" / "dtd").mkdir()
    command = [checkpoint, "--data-root", tmp_path / "data", "--out", tmp_path / "out", "--arch", "tiny"]
    options = ["--cfg-options", "model.backbone.patch_size=32", "test_dataloader.num_workers=0"]
    for run, only in enumerate((["linear_food101", "linear_dtd"], ["linear_food101", "linear_dtd", "glue_mnli"])):
        result = evaluate_all(*command, "--only", *only, *options)
        assert result.returncode == 1 and "1 evaluation failed: stage 3: linear_dtd" in result.stderr, result.stderr
        assert ("linear_food101: done before" in result.stdout) is (run == 1)
    assert "missing: put MNLI: train and dev" in result.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())["stages"]["stage 3"]["evaluations"]
    assert set(results) == set(plan.EVALUATIONS)
    accuracy = results["linear_food101"]["metrics"]["accuracy"]
    assert [name for name, outcome in results.items() if outcome["metrics"]] == ["linear_food101"]
    assert "dtd" in results["linear_dtd"]["problem"] and len(results["linear_dtd"]["log"]) > 1
    assert results["glue_mnli"]["problem"].startswith("missing: ") and results["linear_pets"]["problem"] == "not run"
    page = (tmp_path / "out" / "tables.html").read_text()
    assert "failed: " in page and f">{100 * accuracy:.1f}</td>" in page and "put MNLI: train and dev" in page


@pytest.mark.slow
def test_real_run_of_three_stages(tmp_path: Path) -> None:
    """A fine-tuning and a linear evaluation after each stage; stage 1 has met no words, stages 1 and 2 no pairs."""
    checkpoints = [save(tmp_path / f"stage{stage}.pth", stage) for stage in (1, 2, 3)]
    weights = torch.load(checkpoints[0])
    names = [name for name in weights["state_dict"] if name.startswith("backbone.text_embed.")]
    for name in names:
        del weights["state_dict"][name]
    torch.save(weights, checkpoints[0])
    rte = tmp_path / "data" / "glue" / "RTE"
    rte.mkdir(parents=True)
    for split, count in (("train", 64), ("dev", 7)):
        rows = [f"{n}\ta cat\ta dog\t{('entailment', 'not_entailment')[n % 2]}" for n in range(count)]
        (rte / f"{split}.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n")
    write_tokenizer(tmp_path / "data" / "bert-base-uncased")
    command = [*checkpoints, "--data-root", tmp_path / "data", "--out", tmp_path / "out", "--arch", "tiny"]
    command += ["--only", "glue_rte", "retrieval_coco", "--cfg-options", *TINY, "test_dataloader.num_workers=0"]
    command += ["train_dataloader.num_workers=0", "train_cfg.max_epochs=1"]
    result = evaluate_all(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    stages = json.loads((tmp_path / "out" / "results.json").read_text())["stages"]
    assert all(0 <= stages[f"stage {n}"]["evaluations"]["glue_rte"]["metrics"]["accuracy"] <= 1 for n in (1, 2, 3))
    problems = [stages[f"stage {n}"]["evaluations"]["retrieval_coco"]["problem"] for n in (1, 2, 3)]
    assert [problem.partition(":")[0] for problem in problems] == ["not possible", "not possible", "missing"]
    assert "## Table 4" in (tmp_path / "out" / "tables.md").read_text()
    # A run of the last stage alone takes up what is there.
    result = evaluate_all(checkpoints[2], *command[3:])
    assert "stage 3, glue_rte: done before" in result.stdout
