"""The paper's Table 4 at the demo's size: every task of the kit after each training stage, beside a random encoder.

    python tools/study/table4.py

Trains the demo first where that is not done, then fine-tunes each encoder on each task, by ordinary commands that are
printed before they run. Figures newer than the encoder and the data they come from are kept, so the same line goes on
where it was stopped. Writes work_dirs/table4/seed<N>/table4.{json,md,html}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from evaluation.grid import Cell, Grid, html, markdown
from run import KIT, ROOT, fine_tune_command, run
from run import WORK as DEMO

ENCODERS = ("random", "stage1", "stage2", "stage3")
TASKS = ("boolq", "privacy", "vqa")
PREPARE = (
    f"python tools/demo/fetch_kit.py --root {KIT} --study",
    f"python tools/demo/prepare_kit.py --root {KIT}",
    f"python tools/study/prepare_study.py --root {KIT}",
)
PROBES = {
    "subgroups": "emoji subgroup",
    "skin_tones": "skin tone",
    "digits": "MNIST",
}
NOTE = (
    "Percent, measured on held-out data; small: the encoder's difference to a random one. A figure in grey is not "
    "above its floor, what can be had without a learnt representation. The standard error of a share of n samples is "
    "about 1.6 points at n = 1,000 and 3.5 at n = 190; this is one seed. Retrieval needs stage 3's contrastive "
    "objective."
)


class Row(NamedTuple):
    """A task's figures, shares in [0, 1]. values: by encoder. floor: what needs no encoder, which floor_is names."""

    group: str
    task: str
    values: dict[str, float]
    floor: float
    floor_is: str
    n: int


def fine_tunings(work: Path, seed: int) -> list[list[tuple[Path, str]]]:
    """Commands that run at the same time, each with the folder that it fills."""
    options = [f"randomness.seed={seed}"] if seed else []
    jobs = [(task, encoder, work / f"{task}_{encoder}") for task in TASKS for encoder in ENCODERS]
    commands = [
        (folder, fine_tune_command(f"study/{task}", encoder, str(folder), *options)) for task, encoder, folder in jobs
    ]
    return [commands[first : first + 2] for first in range(0, len(commands), 2)]


def is_current(folder: Path, encoder: str) -> bool:
    """Whether a fine-tuning's figures are newer than what they were made from."""
    from momo.engine.checkpoint import find_checkpoint

    figures, sources = folder / "figures.json", [Path(KIT, "study.json")]
    if encoder != "random":
        sources.append(Path(find_checkpoint(Path(DEMO, encoder))))
    return figures.exists() and all(figures.stat().st_mtime > source.stat().st_mtime for source in sources)


def fine_tune_all(work: Path, seed: int) -> None:
    """Run the commands whose figures are not current."""
    pairs = fine_tunings(work, seed)
    for number, pair in enumerate(pairs, 1):
        todo = [command for folder, command in pair if not is_current(folder, folder.name.split("_")[-1])]
        line = " & ".join(todo or [command for _, command in pair])
        print(f"\n[{number}/{len(pairs)}] {'$' if todo else 'done before:'} {line}", flush=True)
        if todo:
            run(line)


def from_demo() -> Iterator[Row]:
    """What the demo has measured already."""
    metrics = json.loads(Path(DEMO, "evaluation", "evaluation.json").read_text())["metrics"]

    def row(group: str, task: str, name: str) -> Row:
        found = {m["stage"]: m for m in metrics if m["name"] == name and m["stage"] in ENCODERS}
        one = found["stage3"]
        return Row(group, task, {s: m["value"] for s, m in found.items()}, one["floor"], one["floor_is"], one["n"])

    yield row("Vision, linear probe", "emoji group", "emoji group, linear probe")
    yield row("Language, fine-tuned", "fresh or rotten", "fresh or rotten, fine-tuned")
    for source in ("fluent", "openmoji"):
        for k in (1, 10):
            task = f"{source} captions, recall@{k}, zero-shot"
            yield row("Image and text", task, f"{source} captions, recall@{k}")


def probes(kit: Path) -> Iterator[Row]:
    """Linear probes on each encoder's pooled features, beside raw pixels."""
    import evaluate
    import measures
    from rich.progress import track

    models = {encoder: evaluate.load(encoder, Path(DEMO)) for encoder in ENCODERS}
    for name, task in PROBES.items():
        values = {}
        floor, n = measures.probe(kit, name, measures.raw_pixels)
        for encoder in track(ENCODERS, f"probes: {task}"):
            values[encoder], _ = measures.probe(
                kit, name, lambda images, model=models[encoder]: measures.pooled_features(model, images)
            )
        yield Row("Vision, linear probe", task, values, floor, "probe on 16 x 16 pixels", n)


def text_pairs(kit: Path, work: Path) -> Iterator[Row]:
    """The fine-tuned classifiers of pairs, beside TF-IDF or the majority, whichever is better."""
    import measures

    for name, task in (("boolq", "BoolQ, beginning of the passage"), ("privacy", "privacy policies")):
        tf_idf, majority, n = measures.text_floors(kit / name)
        floor, floor_is = max((tf_idf, "TF-IDF"), (majority, "majority class"))
        yield Row("Language, fine-tuned", task, figures(work, name, "accuracy"), floor, floor_is, n)


def questions(kit: Path, work: Path) -> Iterator[Row]:
    """VQA, all and by kind of question, beside answering without looking."""
    from study_tasks import prior_accuracy

    from momo.datasets.vqav2 import FILES, read_questions

    train, test = (read_questions(kit / "vqa", FILES[part][0]) for part in ("train", "val"))
    floors = prior_accuracy(train, test)
    for name, task, kinds in (
        ("accuracy", "templated VQA, fine-tuned", {"yes/no", "other"}),
        ("accuracy_yes_no", "its questions 'is this ...?'", {"yes/no"}),
        ("accuracy_other", "its questions of group, subgroup, tone", {"other"}),
    ):
        n = sum(question.answer_type in kinds for question in test)
        yield Row("Image and text", task, figures(work, "vqa", name), floors[name], "answering without looking", n)


def figures(work: Path, task: str, name: str) -> dict[str, float]:
    """A figure of a fine-tuning by encoder."""
    return {
        encoder: json.loads((work / f"{task}_{encoder}" / "figures.json").read_text())[name] for encoder in ENCODERS
    }


def as_grid(rows: list[Row]) -> Grid:
    """Percent by stage, a heading a group."""
    table: list = []
    for group in dict.fromkeys(row.group for row in rows):
        table.append((group,))
        for row in (row for row in rows if row.group == group):
            cells = [figure(row, encoder) for encoder in ENCODERS]
            table.append((row.task, *cells, Cell(f"{100 * row.floor:.1f}", row.floor_is), f"{row.n:,}"))
    columns = ("", "random", "stage 1", "stage 2", "stage 3", "floor", "n")
    return Grid("After each stage", NOTE, columns, table)


def figure(row: Row, encoder: str) -> Cell:
    """A value with its difference to the random encoder's."""
    value, random = row.values.get(encoder), row.values.get("random")
    if value is None:
        return Cell("-")
    note = "" if random is None or encoder == "random" else f"{100 * (value - random):+.1f}"
    return Cell(f"{100 * value:.1f}", note, "own" if value > row.floor else "low")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the demo's seed, and the fine-tunings'")
    args = parser.parse_args()
    os.chdir(ROOT)  # configs name the data from here
    work = Path("work_dirs/table4", f"seed{args.seed}")
    for command in (*PREPARE, f"python tools/demo/run.py --seed {args.seed}"):
        print(f"\n$ {command}", flush=True)
        run(command)
    fine_tune_all(work, args.seed)

    kit = Path(KIT)
    rows = [*from_demo(), *probes(kit), *text_pairs(kit, work), *questions(kit, work)]
    grid = as_grid(rows)
    (work / "table4.json").write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    (work / "table4.md").write_text(markdown(grid), encoding="utf-8")
    (work / "table4.html").write_text(html("Table 4 on the kit", [grid]), encoding="utf-8")
    print(markdown(grid))
    print(f"Open {work.resolve() / 'table4.html'}")


if __name__ == "__main__":
    main()
