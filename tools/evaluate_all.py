"""Run every evaluation of the paper whose data is there, and write its tables with the published figures beside.

    python tools/evaluate_all.py work_dirs/stage3_vitb --data-root data --out work_dirs/tables
    python tools/evaluate_all.py work_dirs/stage{1,2,3}_vitb --out work_dirs/tables

With one checkpoint (a file, or a work_dir whose newest counts): results.json, and Tables 2 and 3 in tables.md and
tables.html. With those of three stages: Table 4 as well. A run that was interrupted goes on where it stopped, and
--only runs some evaluations and keeps what is known of the others. A row whose data is missing says what to put where.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evaluation.commands import Settings
from evaluation.grid import html, markdown
from evaluation.plan import EVALUATIONS, TABLE_2_ROWS
from evaluation.running import Outcome, recall, run_evaluation, settings_of, write_json
from evaluation.tables import NOT_RUN, averages, table_2, table_3, table_4

from momo.engine.checkpoint import find_checkpoint
from momo.models.backbones import ARCHS

LAST = "stage 3"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="of one stage, or of stages 1, 2 and 3")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder of all data (default: data)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--only", nargs="+", choices=sorted(EVALUATIONS), metavar="NAME", help="some evaluations only")
    parser.add_argument("--gpus", type=int, default=0, help="processes of each evaluation (default: one, no launcher)")
    parser.add_argument("--arch", choices=list(ARCHS), default="base", help="the checkpoint's size (default: base)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of every evaluation, such as test_dataloader.num_workers=2",
    )
    args = parser.parse_args()
    if len(args.checkpoints) not in (1, 3):
        parser.error(f"one checkpoint, or those of three stages, got {len(args.checkpoints)}")
    for name, evaluation in EVALUATIONS.items():
        if args.gpus < 0 or evaluation.batch % max(args.gpus, 1):
            parser.error(f"--gpus {args.gpus}: {name} trains on {evaluation.batch} samples a step, which do not divide")
    return args


def main() -> None:
    args = parse_args()
    stages = [f"stage {number}" for number in (1, 2, 3)][-len(args.checkpoints) :]
    settings = {
        stage: stage_settings(args, stage, given) for stage, given in zip(stages, args.checkpoints, strict=True)
    }
    in_table_4 = {row.evaluation for row in TABLE_2_ROWS}
    outcomes = {
        stage: {
            name: recall(name, settings[stage]) or Outcome(None, NOT_RUN)
            for name in EVALUATIONS
            if stage == LAST or name in in_table_4
        }
        for stage in stages
    }
    write(args.out, settings, outcomes)
    for stage in stages:
        for name, known in outcomes[stage].items():
            if args.only and name not in args.only:
                continue
            if known.metrics is not None:
                print(f"{stage}, {name}: done before", flush=True)
                continue
            outcomes[stage][name] = run_evaluation(name, settings[stage])
            write(args.out, settings, outcomes)
    print(f"\nOpen {args.out / 'tables.html'}")
    failed = [f"{stage}: {name}" for stage, done in outcomes.items() for name, o in done.items() if o.failed]
    if failed:
        sys.exit(f"{len(failed)} evaluation{'s'[: len(failed) > 1]} failed: {', '.join(failed)}")


def stage_settings(args: argparse.Namespace, stage: str, given: str) -> Settings:
    """The last stage's results lie in --out itself, so that a run of it alone is taken up by one of all three."""
    checkpoint = find_checkpoint(given)
    if checkpoint is None:
        sys.exit(f"error: {given}: there is no such checkpoint, and no work_dir that has one")
    folder = args.out if stage == LAST else args.out / stage.replace(" ", "")
    arch = () if args.arch == "base" else (f"model.backbone.arch={args.arch}",)
    return settings_of(checkpoint.resolve(), args.data_root, folder, args.gpus, (*arch, *args.cfg_options))


def write(out: Path, settings: dict[str, Settings], outcomes: dict[str, dict[str, Outcome]]) -> None:
    """Everything that is known so far."""
    metrics = {
        stage: {n: o.metrics for n, o in done.items() if o.metrics is not None} for stage, done in outcomes.items()
    }
    problems = {stage: {n: o.problem for n, o in done.items() if o.problem} for stage, done in outcomes.items()}
    grids = [table_2(metrics[LAST], problems[LAST]), table_3(metrics[LAST], problems[LAST])]
    grids += [table_4(metrics, problems)] if len(outcomes) == 3 else []
    bars = averages(metrics[LAST])
    write_json(
        out / "results.json",
        {
            "stages": {
                stage: {
                    "checkpoint": str(settings[stage].checkpoint),
                    "sha256": settings[stage].digest,
                    "evaluations": {name: outcome._asdict() for name, outcome in done.items()},
                }
                for stage, done in outcomes.items()
            },
            "averages": {bar.group: bar.value for bar in bars if bar.ours},
        },
    )
    lead = "Measured on " + ", ".join(str(chosen.checkpoint) for chosen in settings.values()) + "."
    (out / "tables.md").write_text("\n".join([lead + "\n", *map(markdown, grids)]), encoding="utf-8")
    (out / "tables.html").write_text(html("MoMo, evaluated", grids, bars, lead), encoding="utf-8")


if __name__ == "__main__":
    main()
