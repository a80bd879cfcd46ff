"""Speed and memory beside other projects, in one table: is each target met?

    make benchmark
    python benchmarks/speed.py --only mim pairs --rounds 9 --out work_dirs/speed.json
    python benchmarks/speed.py --quick

Weights are random and inputs made up; nothing is downloaded. Every side runs in a process of its own, and the sides of
a case take turns, one step each, so that what else the machine does falls on all. A figure is the median over the
rounds of the ratio within a round; beside it stand its least and greatest. Targets are judged by the clock on the wall;
the same figure by processor time, which other work disturbs less, stands beside it. 'of GEMM' is the rate of the step's
matrix products over that of GEMMs alone in the same round. Run it on an idle machine: 'others' says how much of the
machine other processes took. Peers: `pip install -r requirements/benchmarks.txt`; one that is not there is a row that
says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# An idle side must not spin beside the one whose turn it is.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from cases import CASES, GEMM, Target, rate  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402
from side_by_side import Measured, Turn, load_of_machine, measure  # noqa: E402

WIDTH = 150  # columns of the table where it goes to a file
BUSY = 0.05  # share of the machine from which other work is warned of
CLOCKS = {"wall": lambda turn: turn.wall, "processor": lambda turn: turn.processor}


class Row(NamedTuple):
    """One target of a case. figures: by clock, [median, least, greatest] over the rounds; empty where a package is
    missing. gemm: median share of the GEMM rate, by the wall; None without it.
    """

    case: str
    target: str
    limit: float
    figures: dict[str, list[float]]
    gemm: float | None
    met: bool | None
    missing: str
    others: float


def row_of(case: str, target: Target, measured: Measured) -> Row:
    """Judge a target by the rounds that were measured."""
    missing = [measured.missing[name] for name in target.needs if name in measured.missing]
    if missing:
        return Row(case, target.text, target.limit, {}, None, None, missing[0], measured.others)
    figures = {}
    for clock, seconds in CLOCKS.items():
        column = [target.figure(turns, seconds) for turns in measured.rounds]
        figures[clock] = [statistics.median(column), min(column), max(column)]
    return Row(
        case,
        target.text,
        target.limit,
        figures,
        _share_of_gemm(measured.rounds, target.own),
        target.met(figures["wall"][0]),
        "",
        measured.others,
    )


def _share_of_gemm(rounds: list[dict[str, Turn]], own: str) -> float | None:
    if not all(GEMM in turns for turns in rounds):
        return None
    wall = CLOCKS["wall"]
    return statistics.median(rate(turns[own], wall) / rate(turns[GEMM], wall) for turns in rounds)


def as_table(rows: list[Row]) -> Table:
    """A line a target."""
    table = Table("case", "target", "by the wall", "(range)", "by processor", "of GEMM", "others", "")
    for row in rows:
        if row.missing:
            table.add_row(row.case, row.target, *[""] * 5, f"needs {row.missing}")
            continue
        (median, least, greatest), (processor, *_) = row.figures["wall"], row.figures["processor"]
        table.add_row(
            row.case,
            row.target,
            f"{median:.3f}",
            f"{least:.3f} - {greatest:.3f}",
            f"{processor:.3f}",
            "" if row.gemm is None else f"{row.gemm:.2f}",
            f"{row.others:.0%}",
            "met" if row.met else "MISSED",
        )
    return table


def as_json(measured: Measured) -> dict[str, Any]:
    """Every turn of a case, by side."""
    sides = measured.rounds[0] if measured.rounds else {}
    turns = {name: [turns[name]._asdict() for turns in measured.rounds] for name in sides}
    return {"others": measured.others, "missing": measured.missing, "turns": turns}


def run(names: list[str], rounds: int | None, size: str, threads: int, console: Console) -> Iterator[tuple]:
    """Measure cases one after the other: name, rows and all turns of each."""
    cases = {name: CASES[name]() for name in names}
    number = {name: rounds or case.rounds for name, case in cases.items()}
    columns = TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=sum(number.values()) + len(cases))
        for name, case in cases.items():
            progress.update(bar, description=name)
            measured = measure(case.sides, number[name], size, threads, lambda: progress.advance(bar))
            yield name, [row_of(name, target, measured) for target in case.targets], as_json(measured)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = dict(choices=list(CASES), default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--only", nargs="+", **names)
    parser.add_argument("--rounds", type=int, help="of every case; default: 5, or 3 where a step takes long")
    parser.add_argument("--quick", action="store_true", help="tiny models, one round: does everything run?")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="JSON file of all figures, written after each case")
    return parser.parse_args()


def main() -> None:
    args, console = arguments(), Console(width=None if sys.stdout.isatty() else WIDTH)
    load = load_of_machine()
    machine = f"{platform.machine()}, {os.cpu_count()} processors, {args.threads} threads, load before {load:.0%}"
    console.print(machine)
    if load > BUSY:
        console.print(f"[bold]Other processes take {load:.0%} of the machine: figures by the wall mean little.[/]")
    rows, turns = [], {}
    rounds, size = (1, "tiny") if args.quick else (args.rounds, "base")
    for name, new_rows, new_turns in run(args.only, rounds, size, args.threads, console):
        rows, turns = rows + new_rows, {**turns, name: new_turns}
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            content = {"machine": machine, "rows": [row._asdict() for row in rows], "cases": turns}
            args.out.write_text(json.dumps(content, indent=1))
    console.print(as_table(rows))
    disturbed = sorted({row.case for row in rows if row.others > BUSY})
    if disturbed:
        console.print(f"[bold]Other processes disturbed {', '.join(disturbed)}: run these again on an idle machine.[/]")


if __name__ == "__main__":
    main()
