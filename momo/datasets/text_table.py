"""Texts with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from momo.registry import DATASETS

from .base import KeyedDataset, existing


@DATASETS.register_module()
class TextTable(KeyedDataset):
    """Rows of a tab-separated file with a header; no quoting, as GLUE's files are.

    Args:
        file: The .tsv file.
        pipeline: Transforms; usually Tokenize.
        text, label: Names of the columns; labels are whole numbers from 0.
    Raises: FileNotFoundError if it is not there; ValueError naming file and line for a row of another form.
    """

    def __init__(self, file: str, pipeline: Sequence[dict], text: str = "text", label: str = "label") -> None:
        super().__init__(pipeline)
        self.path = existing(file, "file", "a tab-separated table")
        with self.path.open(encoding="utf-8") as lines:
            header = next(lines, "").rstrip("\n").split("\t")
            for column in (text, label):
                if column not in header:
                    raise ValueError(f"{file} has no column {column!r}; its first line has {header}")
            columns = header.index(text), header.index(label)
            self.rows = [self._parse(line, number, columns) for number, line in enumerate(lines, 2) if line.strip()]

    def _parse(self, line: str, number: int, columns: tuple[int, int]) -> tuple[str, int]:
        cells = line.rstrip("\n").split("\t")
        try:
            return cells[columns[0]], int(cells[columns[1]])
        except (IndexError, ValueError) as error:
            raise ValueError(f"{self.path}, line {number}: expected a text and a whole number, got {cells}") from error

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> dict[str, Any]:
        text, label = self.rows[index]
        return {"sample_id": f"{self.path}:{index}", "text": text, "label": label}
