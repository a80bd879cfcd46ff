"""Means, errors and differences over seeds, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ablation_tables import COMPARISONS, TASKS, paper_difference
from rich.table import Table

# By measure: its modality, and whether more is better.
MODALITY = {
    "emoji group, linear probe": ("vision", True),
    "masked-image loss": ("vision", False),
    "masked-text cross-entropy": ("language", False),
    "fluent captions, recall@1": ("multimodal", True),
    "fluent captions, recall@10": ("multimodal", True),
    "openmoji captions, recall@1": ("multimodal", True),
    "openmoji captions, recall@10": ("multimodal", True),
}


def mean_and_error(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, and its standard error: the deviation between values (n - 1) over the root of n; None for one value."""
    values = np.asarray(values, dtype=np.float64)
    error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(values.mean()), "standard_error": error}


def compare(key: str, figures: dict[str, list[dict[str, tuple[float, int]]]]) -> dict[str, Any]:
    """One comparison over all measures that both of its runs have.

    The difference is taken seed by seed, because runs of one seed share data order and earlier stages: its error is
    smaller than the errors of the two means would suggest.

    Args:
        key: Of COMPARISONS.
        figures: By run, for each seed, value and number of samples by measure.
    """
    comparison = COMPARISONS[key]
    (first_label, first), (second_label, second) = comparison.first, comparison.second
    rows = []
    for name, (modality, more_is_better) in MODALITY.items():
        if not all(name in seed for run in (first, second) for seed in figures[run]):
            continue
        one, other = ([seed[name][0] for seed in figures[run]] for run in (first, second))
        rows.append(
            {
                "measure": name,
                "modality": modality,
                "more_is_better": more_is_better,
                "samples": figures[first][0][name][1],
                "first": {**mean_and_error(one), "values": one},
                "second": {**mean_and_error(other), "values": other},
                "difference": mean_and_error([b - a for a, b in zip(one, other, strict=True)]),
                "paper_difference": paper_difference(comparison, modality),
            }
        )
    return {
        "name": key,
        "title": comparison.title,
        "first": {"label": first_label, "run": first},
        "second": {"label": second_label, "run": second},
        "rows": rows,
    }


def shown(figure: dict[str, float | None], sign: str = "") -> str:
    """'0.123 ± 0.004'; an error that one seed cannot give is '-'."""
    error = figure["standard_error"]
    return f"{figure['mean']:{sign}.3f} ± {'-' if error is None else f'{error:.3f}'}"


def cells(comparison: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text."""
    header = ["measure", "n", comparison["first"]["label"], comparison["second"]["label"], "difference", "paper's"]
    body = []
    for row in comparison["rows"]:
        paper = row["paper_difference"]
        tasks = len(TASKS[row["modality"]])
        body.append(
            [
                f"{row['measure']} {'↑' if row['more_is_better'] else '↓'}",
                str(row["samples"]),
                shown(row["first"]),
                shown(row["second"]),
                shown(row["difference"], "+"),
                "-" if paper is None else f"{paper:+.1f} {row['modality']} ({tasks})",
            ]
        )
    return header, body


def caption(results: dict[str, Any]) -> str:
    """How to read the figures."""
    seeds = len(results["seeds"])
    length = "" if results["scale"] == 1 else f", {results['scale']:g} of the demo's steps"
    return (
        f"{seeds} seed{'s' if seeds > 1 else ''}, {results['split']} split of n samples{length}. Mean ± standard error "
        "over seeds; difference: the second run minus the first, seed by seed. ↑ more, ↓ less is better. Paper's: mean "
        "difference in points over its tasks of that modality (how many), where more is better."
    )


def as_table(comparison: dict[str, Any], results: dict[str, Any]) -> Table:
    """For the terminal."""
    header, body = cells(comparison)
    table = Table(title=comparison["title"], caption=caption(results))
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left")
    for row in body:
        table.add_row(*row)
    return table


def as_markdown(results: dict[str, Any]) -> str:
    """All comparisons of a table."""
    lines = [f"# Ablation: {results['table']}", "", caption(results)]
    for comparison in results["comparisons"]:
        header, body = cells(comparison)
        lines += [
            "",
            f"## {comparison['title']}",
            "",
            f"| {' | '.join(header)} |",
            "|---|" + "---:|" * (len(header) - 1),
        ]
        lines += [f"| {' | '.join(row)} |" for row in body]
    return "\n".join(lines) + "\n"
