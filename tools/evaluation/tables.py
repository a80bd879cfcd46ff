"""The paper's Tables 2, 3 and 4 and Figure 1, filled with what was measured here beside what was published."""

from __future__ import annotations

from collections.abc import Mapping

from .grid import Bar, Cell, Grid, Row, difference, mean, measured, percent
from .paper import PUBLISHED_AVERAGES, TABLE_2, TABLE_3, TABLE_4
from .plan import ROWS, TABLE_2_ROWS, score

Metrics = Mapping[str, Mapping[str, float]]  # by evaluation
Problems = Mapping[str, str]  # why an evaluation has no figures, by evaluation
NOT_RUN = "not run"


def table_3(metrics: Metrics, problems: Problems) -> Grid:
    """MoMo here, MoMo as published, FLAVA and CLIP."""
    rows: list[Row] = []
    for group, published in TABLE_3.items():
        rows.append((group,))
        own = [score(row, metrics) for row in ROWS[group]]
        for row, value, other in zip(ROWS[group], own, published, strict=True):
            shown = measured(value, problems.get(row.evaluation, NOT_RUN))
            figures = (other.momo, other.flava, other.clip)
            rows.append((row.name, other.how, shown, *map(percent, figures), difference(value, other.momo)))
        total, averages = mean(own), PUBLISHED_AVERAGES[group]
        shown = measured(total, incomplete(own))
        rows.append((f"{group} average", "", shown, *map(percent, averages), difference(total, averages[0])))
    return Grid(
        "Table 3",
        "Percent. MRPC and QQP: mean of accuracy and F1; STS-B: mean of Pearson and Spearman. VQAv2 here is measured "
        "on held-out validation images, the published figures on test-dev. Averages are taken over whole groups only; "
        "two of the published ones are not those of their rows: CLIP's on vision (87.0), FLAVA's on multimodal (67.4).",
        ("", "", "here", "MoMo", "FLAVA", "CLIP", "here - MoMo"),
        rows,
    )


def table_2(metrics: Metrics, problems: Problems) -> Grid:
    """The same figures in Table 2's form."""
    rows: list[Row] = []
    for row in TABLE_2_ROWS:
        published = TABLE_2[row.name]
        parts = [row._replace(figures=(name,)) for name in row.figures] if len(published[0]) == 2 else [row]
        values = [score(part, metrics) for part in parts]
        if None in values:
            shown = measured(None, problems.get(row.evaluation, NOT_RUN))
        else:
            shown = Cell("/".join(map(percent, values)), kind="own")
        differences = "/".join(filter(None, map(difference, values, published[0])))
        rows.append((row.name, shown, *("/".join(map(percent, other)) for other in published), differences))
    note = "Percent. COCO and Flickr30K: mean of recall at 1 and 5, both ways. MRPC and QQP: accuracy/F1."
    return Grid("Table 2", note, ("", "here", "MoMo", "FLAVA", "CLIP-ViT-B/16", "here - MoMo"), rows)


def table_4(metrics: Mapping[str, Metrics], problems: Mapping[str, Problems]) -> Grid:
    """What each training stage brings: three columns here, three published.

    Args:
        metrics: By stage, in order.
        problems: By stage.
    """
    by_name = {row.name: row for row in TABLE_2_ROWS}
    rows: list[Row] = []
    for name, published in TABLE_4.items():
        row = by_name[name]
        own = [
            measured(score(row, metrics[stage]), _unless_impossible(problems[stage].get(row.evaluation)), versus=other)
            for stage, other in zip(metrics, published, strict=True)
        ]
        rows.append((name, *own, *map(percent, published)))
    columns = ("", *(f"{stage}, here" for stage in metrics), *(f"{stage}, paper" for stage in metrics))
    note = "Percent; small: here - paper. Retrieval needs the contrastive objective of stage 3."
    return Grid("Table 4", note, columns, rows)


def _unless_impossible(problem: str | None) -> str:
    return NOT_RUN if problem is None else "" if problem.startswith("not possible") else problem


def incomplete(values: list[float | None]) -> str:
    """What stands in the place of an average that would not be over everything."""
    return f"- ({sum(value is not None for value in values)} of {len(values)})"


def averages(metrics: Metrics) -> list[Bar]:
    """Figure 1: the averages of the three groups, and their mean."""
    bars, totals = [], {"here": [], "MoMo": [], "FLAVA": [], "CLIP": []}
    for group, published in PUBLISHED_AVERAGES.items():
        own = [score(row, metrics) for row in ROWS[group]]
        for label, value in zip(totals, (mean(own), *published), strict=True):
            totals[label].append(value)
            bars.append(Bar(group, label, value, label == "here", incomplete(own)))
    for label, values in totals.items():
        bars.append(Bar("Macro average", label, mean(values), label == "here", incomplete(values)))
    return bars
