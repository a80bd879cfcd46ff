"""Kill, starve and deceive real runs of a tiny model, and count how often nothing was lost.

    python tools/torture.py --short                    # minutes; part of the slow tests
    python tools/torture.py --out work_dirs/torture    # an hour or two on two cores
    python tools/torture.py --only T1 T2 --seed 7

Each row is a kind of fault (docs/reliability.md says what must happen). The table has how often it did, the share of
failures that this excludes with 95% confidence, and how often MMEngine as it comes, with a model of its own, passes.
Runs on the CPU, by gloo. Exits with 1 if a row fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from reliability import rows_failures, rows_files, rows_hostile, rows_resume, stock
from reliability.runs import Lab
from scipy.stats import beta


class Row(NamedTuple):
    """run(lab, count) yields what was tried and what was wrong. The counts are for each of a row's settings."""

    run: Callable[[Lab, int], Iterator[tuple[str, str]]]
    short: int
    long: int
    stock: Callable[[stock.Stock, int], Iterator[tuple[str, str]]] | None = None
    stock_count: int = 0


ROWS = {
    "T1": Row(rows_resume.t1, 1, 20, stock.t1, 10),
    "T2": Row(rows_resume.t2, 0, 2, stock.t2, 10),
    "T3": Row(rows_resume.t3, 1, 10),
    "T4": Row(rows_resume.t4, 1, 5, stock.t4, 10),
    "T5": Row(rows_resume.t5, 1, 10, stock.t5, 5),
    "T6": Row(rows_files.t6, 4, 20, stock.t6, 5),
    "T7": Row(rows_files.t7, 20, 100, stock.t7, 100),
    "T8": Row(rows_files.t8, 1, 2),
    "T9": Row(rows_resume.t9, 1, 3),
    "T15": Row(rows_failures.t15, 1, 10, stock.t15, 5),
    "T16": Row(rows_failures.t16, 2, 10),
    "T17": Row(rows_failures.t17, 1, 10),
    "T19": Row(rows_files.t19, 50, 500),
    "T20": Row(rows_hostile.t20, 1, 1, stock.t20, 5),
    "T22": Row(rows_resume.t22, 1, 3, stock.t22, 5),
    "T25": Row(rows_resume.t25, 12, 30),
}


def bound(passed: int, tried: int) -> float:
    """The largest share of failures that is not excluded with 95% confidence (Clopper and Pearson, one-sided)."""
    return 1.0 if passed == 0 else float(1 - beta.ppf(0.05, passed, tried - passed + 1))


def measure(name: str, results: Iterator[tuple[str, str]], log: list[dict]) -> tuple[int, int]:
    """How often it went well, and how often it was tried."""
    found = []
    for what, problem in results:
        found.append(not problem)
        log.append({"row": name, "what": what, "problem": problem})
        if problem and "stock" not in name:
            print(f"  {name}, {what}: {problem}", flush=True)
    return sum(found), len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few of each")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="some rows")
    parser.add_argument("--no-stock", action="store_true", help="leave out MMEngine as it comes")
    parser.add_argument("--seed", type=int, default=0, help="what decides when and where (default 0)")
    parser.add_argument("--out", type=Path, help="write results.json and table.md here")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture_"))
    lab, plain = Lab(folder / "runs", args.seed), None
    log: list[dict] = []
    lines = ["| row | fault | held | failures below (95%) | stock MMEngine | seconds |", "|---|---|---|---|---|---|"]
    failed = []
    print("\n".join(lines), flush=True)
    for name in args.only:
        row, started = ROWS[name], time.monotonic()
        passed, tried = measure(name, row.run(lab, row.short if args.short else row.long), log)
        if passed < tried:
            failed.append(name)
        control = ""
        if row.stock and not args.no_stock:
            plain = plain or stock.Stock(lab)
            count = min(row.stock_count, 2) if args.short else row.stock_count
            control = "{} of {}".format(*measure(f"{name}, stock", row.stock(plain, count), log))
        fault = (row.run.__doc__ or "").strip().rstrip(".")
        line = f"| {name} | {fault} | {passed} of {tried} | {100 * bound(passed, tried):.1f}% | {control} | "
        lines.append(f"{line}{time.monotonic() - started:.0f} |")
        print(lines[-1], flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            (args.out / "table.md").write_text("\n".join(lines) + "\n")
            (args.out / "results.json").write_text(json.dumps(log, indent=1))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the runs are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
