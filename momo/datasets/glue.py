"""The tasks of the GLUE benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet
from mmengine.logging import print_log

from momo.registry import DATASETS

from .base import KeyedDataset, existing

SPLITS = ("train", "dev", "test")
_PARQUET_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


class GlueTask(NamedTuple):
    """How a task is distributed.

    texts: columns of the one or two texts. label: column of the label. classes: names of the labels, by number; none
    for regression. parquet_texts: where the parquet files name the texts differently. halves: parts of dev and test.
    """

    texts: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    parquet_texts: tuple[str, ...] = ()
    halves: tuple[str, ...] = ()


_YES_NO = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_SENTENCES = ("sentence1", "sentence2")
TASKS = {
    "cola": GlueTask(("sentence",), "label", _YES_NO),
    "mnli": GlueTask(
        _SENTENCES,
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        parquet_texts=("premise", "hypothesis"),
        halves=("_matched", "_mismatched"),
    ),
    "mrpc": GlueTask(("#1 String", "#2 String"), "Quality", _YES_NO, parquet_texts=_SENTENCES),
    "qnli": GlueTask(("question", "sentence"), "label", _ENTAILMENT),
    "qqp": GlueTask(("question1", "question2"), "is_duplicate", _YES_NO),
    "rte": GlueTask(_SENTENCES, "label", _ENTAILMENT),
    "sst2": GlueTask(("sentence",), "label", _YES_NO),
    "stsb": GlueTask(_SENTENCES, "score", ()),
    "wnli": GlueTask(_SENTENCES, "label", _YES_NO),
}
_COLA_HEADER = ["source", "label", "mark", "sentence"]  # its train and dev files have none


@DATASETS.register_module()
class GLUE(KeyedDataset):
    """A split of a GLUE task, from the benchmark's .tsv files or from parquet files with the same rows.

    Samples have 'text', 'text_pair' where the task has two, and 'label' (a class, or the score of STS-B) except in the
    test split. The sample's id is '<file>:<row>', rows counted from 0 as the submission files do.

    Args:
        task: A name in TASKS.
        root: The task's folder, with <split>.tsv or <split>-*.parquet; MNLI's dev and test come in two files each.
        split: 'train', 'dev' or 'test'.
        pipeline: Transforms; usually TokenizePair.
    Raises: ValueError for an unknown task or split, and naming file and line for a row of another form;
        FileNotFoundError naming what should lie there.
    """

    def __init__(self, task: str, root: str, split: str, pipeline: Sequence[dict]) -> None:
        super().__init__(pipeline)
        if task not in TASKS:
            raise ValueError(f"task={task!r} is unknown; choose one of {sorted(TASKS)}")
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is unknown; choose one of {SPLITS}")
        self.task, self.split, self.settings = task, split, TASKS[task]
        folder = existing(root, "root", f"the folder of GLUE's {task} with {split}.tsv or parquet files")
        halves = self.settings.halves if split != "train" and self.settings.halves else ("",)
        self.rows = [row for half in halves for row in self._read_part(folder, half)]

    @property
    def metainfo(self) -> dict[str, Any]:
        """Also the task and its classes, which metrics read."""
        return {**super().metainfo, "task": self.task, "classes": self.settings.classes}

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> dict[str, Any]:
        sample_id, texts, label = self.rows[index]
        sample = {"sample_id": sample_id, "text": texts[0]}
        if len(texts) == 2:
            sample["text_pair"] = texts[1]
        return sample if label is None else {**sample, "label": label}

    def _read_part(self, folder: Path, half: str) -> list[tuple[str, list[str], int | float | None]]:
        """Rows of one file, or of one sequence of parquet files, as (id, texts, label)."""
        table = folder / f"{self.split}{half}.tsv"
        shards = sorted(folder.glob(f"{_PARQUET_SPLITS[self.split]}{half}-*.parquet"))
        if table.is_file():
            rows = self._tsv_rows(table)
        elif shards:
            rows = self._parquet_rows(shards)
        else:
            raise FileNotFoundError(
                f"root={str(folder)!r}: neither {table.name} nor {_PARQUET_SPLITS[self.split]}{half}-*.parquet is "
                f"there; put the files of GLUE's {self.task} into that folder"
            )
        return [(f"{self.split}{half}:{number}", *row) for number, row in enumerate(rows)]

    def _tsv_rows(self, path: Path) -> Iterator[tuple[list[str], int | float | None]]:
        """The official files: tab-separated, no quoting."""
        settings, broken = self.settings, 0
        with path.open(encoding="utf-8") as lines:
            headless = self.task == "cola" and self.split != "test"
            header = _COLA_HEADER if headless else next(lines, "").rstrip("\r\n").split("\t")
            wanted = [*settings.texts, *([] if self.split == "test" else [settings.label])]
            for column in wanted:
                if column not in header:
                    raise ValueError(f"{path} has no column {column!r}; its first line has {header}")
            places = [header.index(column) for column in wanted]
            for number, line in enumerate(lines, 1 if headless else 2):
                cells = line.rstrip("\r\n").split("\t")
                if len(cells) <= max(places):
                    if self.task != "qqp":
                        raise ValueError(f"{path}, line {number}: expected {len(header)} columns, got {len(cells)}")
                    broken += 1  # the official files of QQP have a few rows cut short
                    continue
                values = [cells[place] for place in places]
                label = None if self.split == "test" else self._label(values.pop(), f"{path}, line {number}")
                yield values, label
        if broken:
            print_log(f"{path}: left out {broken} rows that lack columns", logger="current")

    def _parquet_rows(self, paths: Sequence[Path]) -> Iterator[tuple[list[str], int | float | None]]:
        """The same as distributed in parquet: labels are numbers, -1 where there is none."""
        columns = [*(self.settings.parquet_texts or self.settings.texts), "label"]
        for path in paths:
            names = pyarrow.parquet.read_schema(path).names
            for column in columns:
                if column not in names:
                    raise ValueError(f"{path} has no column {column!r}; it has {names}")
            for number, row in enumerate(pyarrow.parquet.read_table(path, columns=columns).to_pylist()):
                label = None if self.split == "test" else self._number(row["label"], f"{path}, row {number}")
                yield [row[column] for column in columns[:-1]], label

    def _label(self, text: str, where: str) -> int | float:
        if self.settings.classes and text in self.settings.classes:
            return self.settings.classes.index(text)
        return self._number(text, where)

    def _number(self, value: Any, where: str) -> int | float:
        """A class number, or a score from 0 to 5."""
        classes = self.settings.classes
        try:
            number = int(value) if classes else float(value)
        except ValueError:
            number = -1
        if not 0 <= number <= (len(classes) - 1 if classes else 5):
            expected = f"one of {classes}" if classes else "a score from 0 to 5"
            raise ValueError(f"{where}: the label should be {expected}, got {value!r}")
        return number
