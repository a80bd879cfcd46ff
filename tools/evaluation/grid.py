"""Tables of measured figures in any form, as Markdown and as one HTML page; nothing here knows the paper.

grid = Grid("Stages", "Accuracy.", ("task", "random", "stage 1"), [
    ("words",),                                                            # a heading
    (Cell("sentiment"), measured(51.0, floor=50.0), measured(63.2, floor=50.0)),
    (Cell("topic"), measured(None, "missing: put X at Y"), measured(None)),
])
Path("page.html").write_text(html("Title", [grid]), encoding="utf-8")
Path("page.md").write_text(markdown(grid), encoding="utf-8")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2


class Cell(NamedTuple):
    """What a table shows in one place.

    note: Small, beside the text. kind: 'own' for what was measured here, 'low' for such a figure that is not above its
    floor, 'problem' where one is lacking, '' for all else. why: What to do about a problem.
    """

    text: str
    note: str = ""
    kind: str = ""
    why: str = ""


Row = tuple[Cell | str, ...]


class Grid(NamedTuple):
    """A table: a row of one cell is a heading. note: what the reader should know."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[Row]


class Bar(NamedTuple):
    """A bar of a picture, in percent. ours: in the page's colour. lacking: stands where there is no value."""

    group: str
    label: str
    value: float | None
    ours: bool = False
    lacking: str = "-"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def difference(value: float | None, other: float | None) -> str:
    return "" if value is None or other is None else f"{value - other:+.1f}"


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, and None unless every value is there: an average of some would not compare."""
    return None if not values or None in values else sum(values) / len(values)


def measured(
    value: float | None,
    problem: str = "",
    *,
    floor: float | None = None,
    versus: float | None = None,
    digits: int = 1,
    note: str = "",
) -> Cell:
    """A figure of our own, or why there is none.

    Args:
        problem: Without a value, 'what it is' or 'what it is: what to do'; '' shows a dash.
        floor: What chance gives, shown beside; more is better.
        versus: A figure to compare with: the difference is shown beside.
        note: More to show beside.
    """
    if value is None:
        state, _, why = problem.partition(": ")
        return Cell(state or "-", kind="problem", why=why)
    notes = [
        note,
        "" if versus is None else f"{value - versus:+.{digits}f}",
        "" if floor is None else f"floor {floor:.{digits}f}",
    ]
    low = floor is not None and value <= floor
    return Cell(f"{value:.{digits}f}", ", ".join(filter(None, notes)), "low" if low else "own")


def cell(content: Cell | str) -> Cell:
    return content if isinstance(content, Cell) else Cell(content)


def markdown(grid: Grid) -> str:
    """A heading, the note, the table."""

    def shown(content: Cell | str) -> str:
        text, note, _, why = cell(content)
        return (text + (f" ({note})" if note else "") + (f": {why}" if why else "")).replace("|", "\\|")

    lines = [f"## {grid.title}", "", grid.note, "", "| " + " | ".join(grid.columns) + " |"]
    lines.append("|---|" + "---:|" * (len(grid.columns) - 1))
    for row in grid.rows:
        cells = [shown(content) for content in row]
        cells = [f"**{cells[0]}**"] + [""] * (len(grid.columns) - 1) if len(row) == 1 else cells
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def html(title: str, grids: Sequence[Grid], bars: Sequence[Bar] = (), lead: str = "") -> str:
    """A self-contained page: a sentence, bars by group, then the tables; a problem's remedy stands below its row."""
    groups: dict[str, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(bar.group, []).append(bar)
    tables = [(grid, _with_remedies(grid.rows)) for grid in grids]
    template = Path(__file__).with_name("tables_template.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(template).render(
        title=title, lead=lead, tables=tables, groups=groups, percent=percent
    )


def _with_remedies(rows: Sequence[Row]) -> list[tuple[list[Cell], list[str]]]:
    """Each row's cells, and its problems' remedies unless the row above has the same."""
    result: list[tuple[list[Cell], list[str]]] = []
    above: list[str] = []
    for row in rows:
        cells = [cell(content) for content in row]
        remedies = list(dict.fromkeys(f"{c.text}: {c.why}" for c in cells if c.why))
        result.append((cells, [remedy for remedy in remedies if remedy not in above]))
        above = remedies
    return result
