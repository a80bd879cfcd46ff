"""Run every evaluation of the paper whose data is there, and write its tables with the published figures beside.

    python tools/evaluate_all.py work_dirs/stage3_vitb --data-root data --out work_dirs/tables
    python tools/evaluate_all.py work_dirs/stage{1,2,3}_vitb --out work_dirs/tables

With one checkpoint (a file, or a work_dir whose newest counts): results.json, and Tables 2 and 3 in tables.md and
tables.html. With those of three stages: Table 4 as well. A run that was interrupted goes on where it stopped; a row
whose data is not there says what to put where.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from evaluation.plan import EVALUATIONS, TABLE_2_ROWS
from evaluation.running import Outcome, run_evaluation, settings_of
from evaluation.tables import averages, html, markdown, table_2, table_3, table_4

from momo.engine.checkpoint import find_checkpoint


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="of one stage, or of stages 1, 2 and 3")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of all data (default: data)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", nargs="+", choices=sorted(EVALUATIONS), metavar="NAME", help="some evaluations only")
    parser.add_argument("--gpus", type=int, default=0, help="processes of each evaluation (default: one, no launcher)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of every evaluation, such as model.backbone.arch=large",
    )
    args = parser.parse_args()
    if len(args.checkpoints) not in (1, 3):
        parser.error(f"one checkpoint, or those of three stages, got {len(args.checkpoints)}")
    return args


def main() -> None:
    args = parse_args()
    names = [name for name in EVALUATIONS if args.only is None or name in args.only]
    stages = [f"stage {number}" for number in (1, 2, 3)][-len(args.checkpoints) :]
    outcomes: dict[str, dict[str, Outcome]] = {}
    for stage, given in zip(stages, args.checkpoints, strict=True):
        checkpoint = find_checkpoint(given)
        if checkpoint is None:
            sys.exit(f"error: {given}: there is no such checkpoint, and no work_dir that has one")
        folder = args.out / stage.replace(" ", "") if len(stages) == 3 else args.out
        settings = settings_of(checkpoint.resolve(), args.data_root, folder, args.gpus, tuple(args.cfg_options))
        wanted = names if stage == "stage 3" else [n for n in names if n in {row.evaluation for row in TABLE_2_ROWS}]
        outcomes[stage] = {}
        for name in wanted:
            outcomes[stage][name] = run_evaluation(name, settings)
            write(args.out, outcomes)
    failed = [f"{stage}: {n}" for stage, done in outcomes.items() for n, o in done.items() if o.problem[:6] == "failed"]
    print(f"\nOpen {args.out / 'tables.html'}")
    if failed:
        sys.exit(f"{len(failed)} evaluations failed: {', '.join(failed)}")


def write(out: Path, outcomes: dict[str, dict[str, Outcome]]) -> None:
    """Everything that is known so far."""
    metrics = {stage: {n: o.metrics for n, o in done.items() if o.metrics} for stage, done in outcomes.items()}
    problems = {name: o.problem for done in outcomes.values() for name, o in done.items() if o.problem}
    last = metrics.get("stage 3", {})
    grids = [table_2(last, problems), table_3(last, problems)]
    if "stage 1" in outcomes:
        grids.append(table_4({f"stage {n}": metrics.get(f"stage {n}", {}) for n in (1, 2, 3)}, problems))
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps({"metrics": metrics, "problems": problems}, indent=1) + "\n")
    (out / "tables.md").write_text("\n".join(markdown(grid) for grid in grids), encoding="utf-8")
    (out / "tables.html").write_text(html("MoMo, evaluated", grids, averages(last)), encoding="utf-8")


if __name__ == "__main__":
    main()
