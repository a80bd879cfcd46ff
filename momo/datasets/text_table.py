"""Texts, or pairs of texts, with labels."""

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
        pipeline: Transforms; usually Tokenize, or TokenizePair.
        text, label: Names of the columns; labels are whole numbers from 0.
        text_pair: Name of the column of the second text; None where there is one text a row.
    Raises: FileNotFoundError if it is not there; ValueError naming file and line for a row of another form.
    """

    def __init__(
        self,
        file: str,
        pipeline: Sequence[dict],
        text: str = "text",
        label: str = "label",
        text_pair: str | None = None,
    ) -> None:
        super().__init__(pipeline)
        texts = {"text": text} if text_pair is None else {"text": text, "text_pair": text_pair}
        self.path = existing(file, "file", "a tab-separated table")
        with self.path.open(encoding="utf-8") as lines:
            header = next(lines, "").rstrip("\n").split("\t")
            for column in (*texts.values(), label):
                if column not in header:
                    raise ValueError(f"{file} has no column {column!r}; its first line has {header}")
            places = {key: header.index(column) for key, column in {**texts, "label": label}.items()}
            self.rows = [self._parse(line, number, places) for number, line in enumerate(lines, 2) if line.strip()]

    def _parse(self, line: str, number: int, places: dict[str, int]) -> dict[str, Any]:
        cells = line.rstrip("\n").split("\t")
        try:
            row: dict[str, Any] = {key: cells[place] for key, place in places.items()}
            row["label"] = int(row["label"])
        except (IndexError, ValueError) as error:
            texts = "a text" if len(places) == 2 else "two texts"
            raise ValueError(f"{self.path}, line {number}: expected {texts} and a whole number, got {cells}") from error
        return row

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> dict[str, Any]:
        return {"sample_id": f"{self.path}:{index}", **self.rows[index]}
