"""Every GLUE config, end to end, on small files in the published layout."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from helpers.data import sentence
from helpers.downstream import from_random_weights, in_one_and_two_processes, small
from helpers.run import build_runner

pytestmark = [pytest.mark.usefixtures("unformatted_configs"), pytest.mark.filterwarnings("ignore")]
FOLDERS = dict(
    cola="CoLA", mnli="MNLI", mrpc="MRPC", qnli="QNLI", qqp="QQP", rte="RTE", sst2="SST-2", stsb="STS-B", wnli="WNLI"
)
# The published headers; {a} and {b} are the texts, {y} the label, # a number that nothing reads.
HEADERS = {
    "mnli": (
        "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
        "sentence1 sentence2 label1 gold_label"
    ).split(),
    "mrpc": ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    "qnli": ["index", "question", "sentence", "label"],
    "qqp": ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    "rte": ["index", "sentence1", "sentence2", "label"],
    "sst2": ["sentence", "label"],
    "stsb": "index genre filename year old_index source1 source2 sentence1 sentence2 score".split(),
    "wnli": ["index", "sentence1", "sentence2", "label"],
}
TEXTS = {"sentence1", "sentence2", "#1 String", "#2 String", "question", "sentence", "question1", "question2"}
LABELS = {"gold_label", "Quality", "label", "is_duplicate", "score"}
NAMES = {
    "mnli": ["entailment", "neutral", "contradiction"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["entailment", "not_entailment"],
    "stsb": ["0.000", "2.500", "4.75"],
}
METRICS = {
    "cola": {"matthews"},
    "mnli": {"accuracy", "accuracy_mismatched"},
    "mrpc": {"accuracy", "f1"},
    "qqp": {"accuracy", "f1"},
    "stsb": {"pearson", "spearman"},
}


def write_table(path: Path, task: str, rows: int, labelled: bool) -> None:
    names = NAMES.get(task, ["0", "1"])
    lines = []
    if task == "cola":
        if not labelled:
            lines.append(["index", "sentence"])
        for row in range(rows):
            lines.append(["gj04", names[row % 2], "", sentence(row)] if labelled else [str(row), sentence(row)])
    else:
        header = [column for column in HEADERS[task] if labelled or column not in LABELS]
        lines.append(header)
        for row in range(rows):
            cells = []
            for place, column in enumerate(header):
                label = names[row % len(names)] if column in LABELS else str(row)
                cells.append(sentence(100 * place + row) if column in TEXTS else label)
            lines.append(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def write_task(folder: Path, task: str) -> None:
    halves = ("_matched", "_mismatched") if task == "mnli" else ("",)
    write_table(folder / "train.tsv", task, 9, labelled=True)
    for half in halves:
        write_table(folder / f"dev{half}.tsv", task, 7, labelled=True)
        write_table(folder / f"test{half}.tsv", task, 5, labelled=False)


@pytest.mark.parametrize("task", sorted(FOLDERS))
def test_shipped_config(task: str, tmp_path: Path) -> None:
    write_task(tmp_path / "data" / "glue" / FOLDERS[task], task)
    cfg = from_random_weights(small(f"glue_{task}_vitb", tmp_path, tmp_path / "data"))
    runner = build_runner(cfg)
    runner.train()
    metrics = runner.test()
    assert set(metrics) == METRICS.get(task, {"accuracy"})
    assert all(-1 <= value <= 1 for value in metrics.values())


@pytest.mark.parametrize("task", sorted(FOLDERS))
def test_submission(task: str, tmp_path: Path) -> None:
    write_task(tmp_path / "data" / "glue" / FOLDERS[task], task)
    cfg = from_random_weights(small(f"glue_{task}_vitb", tmp_path, tmp_path / "data"))
    cfg.test_dataloader.loaders.text.dataset.split = "test"
    cfg.test_evaluator = dict(type="GLUESubmission", folder=str(tmp_path / "out"))
    assert build_runner(cfg).test() == {"predictions": 10.0 if task == "mnli" else 5.0}
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == (["MNLI-m.tsv", "MNLI-mm.tsv"] if task == "mnli" else [f"{FOLDERS[task]}.tsv"])
    for file in files:
        header, *rows = [line.split("\t") for line in (tmp_path / "out" / file).read_text().splitlines()]
        assert header == ["index", "prediction"]
        assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
        if task == "stsb":
            assert all(0 <= float(row[1]) <= 5 for row in rows)
        else:
            assert {row[1] for row in rows} <= set(NAMES.get(task, ["0", "1"]))


def test_parquet_files_give_the_same(tmp_path: Path) -> None:
    """MNLI as parquet names its texts premise and hypothesis, and numbers its labels."""
    folder = tmp_path / "data" / "glue" / "MNLI"
    write_task(folder, "mnli")
    results = []
    for _ in range(2):
        cfg = from_random_weights(small("glue_mnli_vitb", tmp_path, tmp_path / "data"))
        runner = build_runner(cfg)
        runner.train()
        results.append(runner.test())
        for table in sorted(folder.glob("*.tsv")):
            header, *lines = [line.split("\t") for line in table.read_text().splitlines()]
            rows = [dict(zip(header, line, strict=True)) for line in lines]
            columns = dict(
                premise=[row["sentence1"] for row in rows],
                hypothesis=[row["sentence2"] for row in rows],
                label=[NAMES["mnli"].index(row["gold_label"]) if "gold_label" in row else -1 for row in rows],
                idx=list(range(len(rows))),
            )
            name = table.stem.replace("dev", "validation")
            pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{name}-00000-of-00001.parquet")
            table.unlink()
    assert results[0] == results[1]


@pytest.mark.dist
@pytest.mark.parametrize("task", ["mnli", "qqp", "stsb", "cola"])
def test_two_processes_measure_as_one(task: str, tmp_path: Path) -> None:
    """7 rows, 14 of MNLI in two halves: each counts once, whichever process had it twice."""
    write_task(tmp_path / "data" / "glue" / FOLDERS[task], task)
    cfg = from_random_weights(small(f"glue_{task}_vitb", tmp_path, tmp_path / "data"))
    cfg.test_dataloader.batch_size = 2
    alone, together = in_one_and_two_processes(cfg, tmp_path)
    assert alone.keys() == METRICS.get(task, {"accuracy"})
    for metrics in together:
        assert metrics == pytest.approx(alone, abs=1e-6)
