"""Tables with published figures beside, as Markdown and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from .paper import PUBLISHED_AVERAGES, TABLE_2, TABLE_3, TABLE_4
from .plan import ROWS, TABLE_2_ROWS, score

Metrics = Mapping[str, Mapping[str, float]]  # by evaluation


class Grid(NamedTuple):
    """A table: a row is its cells; a row of one cell is a heading. note: what the reader should know."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Bar(NamedTuple):
    """A bar of the picture of averages, in percent; None where there is no figure. ours: drawn in the page's colour."""

    group: str
    label: str
    value: float | None
    ours: bool


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def difference(value: float | None, other: float | None) -> str:
    return "" if value is None or other is None else f"{value - other:+.1f}"


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, and None unless every value is there: an average of some would not compare."""
    return None if not values or None in values else sum(values) / len(values)


def table_3(metrics: Metrics, problems: Mapping[str, str]) -> Grid:
    """MoMo here, MoMo as published, FLAVA and CLIP.

    Args:
        metrics: Of the evaluations that were run.
        problems: Why others were not, by evaluation.
    """
    rows: list[tuple[str, ...]] = []
    for group, published in TABLE_3.items():
        rows.append((group,))
        own = [score(row, metrics) for row in ROWS[group]]
        for row, value, other in zip(ROWS[group], own, published, strict=True):
            shown = percent(value) if value is not None else problems.get(row.evaluation, "not run")
            figures = (other.momo, other.flava, other.clip)
            rows.append((row.name, other.how, shown, *map(percent, figures), difference(value, other.momo)))
        total, count = mean(own), sum(value is not None for value in own)
        shown = percent(total) if total is not None else f"- ({count} of {len(own)})"
        averages = PUBLISHED_AVERAGES[group]
        rows.append((f"{group} average", "", shown, *map(percent, averages), difference(total, averages[0])))
    return Grid(
        "Table 3",
        "Percent. MRPC and QQP: mean of accuracy and F1; STS-B: mean of Pearson and Spearman. VQAv2 here is measured "
        "on held-out validation images, the published figures on test-dev. Averages are taken over whole groups only.",
        ("", "", "here", "MoMo", "FLAVA", "CLIP", "here - MoMo"),
        rows,
    )


def table_2(metrics: Metrics, problems: Mapping[str, str]) -> Grid:
    """The same figures in Table 2's form."""
    rows = []
    for row in TABLE_2_ROWS:
        published = TABLE_2[row.name]
        parts = [row._replace(figures=(name,)) for name in row.figures] if len(published[0]) == 2 else [row]
        values = [score(part, metrics) for part in parts]
        shown = problems.get(row.evaluation, "not run") if None in values else "/".join(map(percent, values))
        differences = "/".join(filter(None, map(difference, values, published[0])))
        rows.append((row.name, shown, *("/".join(map(percent, other)) for other in published), differences))
    note = "Percent. COCO and Flickr30K: mean of recall at 1 and 5, both ways. MRPC and QQP: accuracy/F1."
    return Grid("Table 2", note, ("", "here", "MoMo", "FLAVA", "CLIP-ViT-B/16", "here - MoMo"), rows)


def table_4(stages: Mapping[str, Metrics], problems: Mapping[str, str]) -> Grid:
    """What each training stage brings: three columns here, three published."""
    by_name = {row.name: row for row in TABLE_2_ROWS}
    rows = []
    for name, published in TABLE_4.items():
        values = [score(by_name[name], metrics) for metrics in stages.values()]
        problem = problems.get(by_name[name].evaluation, "")
        own = [problem, "", ""] if problem else [percent(value) for value in values]
        rows.append((name, *own, *map(percent, published)))
    columns = ("", *(f"{stage}, here" for stage in stages), "stage 1, paper", "stage 2, paper", "stage 3, paper")
    note = "Percent. Retrieval needs the contrastive objective of stage 3."
    return Grid("Table 4", note, columns, rows)


def averages(metrics: Metrics) -> list[Bar]:
    """Figure 1: the averages of the three groups, and their mean."""
    bars, totals = [], {"here": [], "MoMo": [], "FLAVA": [], "CLIP": []}
    for group, published in PUBLISHED_AVERAGES.items():
        own = mean([score(row, metrics) for row in ROWS[group]])
        for label, value in zip(totals, (own, *published), strict=True):
            totals[label].append(value)
            bars.append(Bar(group, label, value, label == "here"))
    return bars + [Bar("Macro average", label, mean(values), label == "here") for label, values in totals.items()]


def markdown(grid: Grid) -> str:
    lines = [f"## {grid.title}", "", grid.note, "", "| " + " | ".join(grid.columns) + " |"]
    lines.append("|" + "---|" * len(grid.columns))
    for row in grid.rows:
        cells = (f"**{row[0]}**", *[""] * (len(grid.columns) - 1)) if len(row) == 1 else row
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def html(title: str, grids: Sequence[Grid], bars: Sequence[Bar] = ()) -> str:
    """A self-contained page: bars by group, then the tables."""
    template = Path(__file__).with_name("tables_template.html").read_text(encoding="utf-8")
    groups: dict[str, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar.group, []).append(bar)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(title=title, grids=grids, groups=groups, percent=percent)
