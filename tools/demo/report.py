"""One page that shows what the demo did: report.html, which needs no other file, and its figures as report.json.

    python tools/demo/report.py --work-dir work_dirs/demo

What is not there yet is named on the page, and the rest is shown.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from report_charts import line_chart, number

STAGES = {
    "stage1": ("Stage 1", "masked images"),
    "stage2": ("Stage 2", "masked images and masked text in every step"),
    "stage2_text_only": ("Stage 2, text only", "the ablation: the same steps without images"),
    "stage3": ("Stage 3", "pictures with their names: cross-modal masking, contrast, matching; and masked text"),
}
STAGE_NAMES = {name: title for name, (title, _) in STAGES.items()} | {"random": "No training"}
LOSSES = {
    "image/mim_loss_pixels": "Masked image, pixels",
    "text/mlm_loss_words": "Masked text, words",
    "image_text/cmm_loss_pixels": "Cross-modal, pixels",
    "image_text/cmm_loss_words": "Cross-modal, words",
    "image_text/itc_loss": "Contrast",
    "image_text/itm_loss": "Matching",
}
CUT_OFF = ", recall@"
METRIC_KEYS = ("name", "stage", "value", "floor", "floor_is", "n")


def read_json(path: Path) -> Any:
    """The content of a file, None if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


# ------------------------------------------------------------------ training
class Training(NamedTuple):
    """What a stage logged: rows of scalars by step, and held-out values by the step they were taken at."""

    rows: list[dict[str, float]]
    held_out: list[dict[str, float]]

    @property
    def losses(self) -> list[str]:
        return [key for key in self.rows[0] if "/" in key and "_loss" in key]


def read_training(folder: Path) -> Training | None:
    """The newest run's scalars of a stage's folder; None if nothing was logged."""
    files = sorted(folder.glob("*/vis_data/scalars.json"))
    lines = [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []
    rows, held_out = [], []
    for line in lines:
        if "iter" in line:
            rows.append(line)
        elif rows:  # validation is logged by epoch, after the steps before it
            held_out.append({**line, "iter": rows[-1]["iter"]})
    return Training(rows, held_out) if rows else None


def loss_charts(training: Training) -> list[dict]:
    """A chart a loss, with its first, last and held-out value."""
    charts = []
    for key in training.losses:
        line = [(row["iter"], row[key]) for row in training.rows if key in row]
        dots = [(row["iter"], row[key]) for row in training.held_out if key in row]
        title = LOSSES.get(key, key)
        charts.append(
            {
                "title": title,
                "svg": line_chart(line, dots, f"{title} from {line[0][1]:.3f} to {line[-1][1]:.3f}"),
                "first": line[0][1],
                "last": line[-1][1],
                "held_out": dots[-1][1] if dots else None,
            }
        )
    return charts


# ------------------------------------------------------------------ figures
def read_evaluation(folder: Path) -> tuple[list[dict], list[dict]]:
    """Metrics and claims of all files in the folder."""
    metrics, claims = [], []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        metrics += [{key: metric[key] for key in METRIC_KEYS} for metric in content.get("metrics", [])]
        claims += content.get("claims", [])
    return metrics, claims


def lower_is_better(name: str) -> bool:
    """Losses and entropies; every other figure is a proportion of n."""
    return any(word in name for word in ("loss", "entropy"))


def binomial_error(share: float, n: int) -> float:
    """Standard error of a share of n."""
    return (share * (1 - share) / n) ** 0.5


def judged(metric: dict, largest: float) -> dict:
    """A metric with its standard error, its verdict against the floor, and the places of bar and floor in percent.

    A floor counts as exact; the error of a difference is the larger of the error at the value and at the floor, so that
    a share of nothing is not taken for certain.

    Args:
        largest: The end of the bar's scale.
    """
    value, floor, n, falling = metric["value"], metric["floor"], metric["n"], lower_is_better(metric["name"])
    part = metric["name"].partition(CUT_OFF)[2]
    error = None if falling or not n else binomial_error(value, n)
    verdict = None
    if floor is not None:
        gain = floor - value if falling else value - floor
        unclear = error is not None and abs(gain) <= 2 * max(error, binomial_error(floor, n))
        verdict = "within error" if unclear else "better" if gain > 0 else "worse"
    return {
        **metric,
        "stage": STAGE_NAMES.get(metric["stage"], metric["stage"].capitalize()),
        "part": f"recall@{part}" if part else "",
        "error": error,
        "note": metric["floor_is"] if floor is None or not metric["floor_is"] else f"floor: {metric['floor_is']}",
        "verdict": verdict,
        "bar": 100 * value / largest,
        "mark": None if floor is None else 100 * floor / largest,
    }


def by_name(metrics: list[dict]) -> dict[str, list[dict]]:
    """Judged metrics by name in the order they came: stages and cut-offs of one figure stand together."""
    groups: dict[str, list[dict]] = {}
    for metric in metrics:
        groups.setdefault(metric["name"].partition(CUT_OFF)[0], []).append(metric)
    judged_groups = {}
    for name, group in groups.items():
        values = [value for metric in group for value in (metric["value"], metric["floor"]) if value is not None]
        largest = max([*values, 0.0 if lower_is_better(name) else 1.0]) or 1.0
        judged_groups[name] = [judged(metric, largest) for metric in group]
    return judged_groups


def summary(timing: dict | None, trainings: dict[str, Training], metrics: list[dict], claims: list[dict]) -> dict:
    """The content of report.json."""
    timing = timing or {"seconds": None, "stages": {}}
    stages = {}
    for name in [*STAGES, *(name for name in timing["stages"] if name not in STAGES)]:
        if name in timing["stages"] or name in trainings:
            rows = trainings[name].rows if name in trainings else [{}]
            stages[name] = {
                "seconds": timing["stages"].get(name),
                "loss_first": rows[0].get("loss"),
                "loss_last": rows[-1].get("loss"),
            }
    return {"seconds": timing["seconds"], "stages": stages, "metrics": metrics, "claims": claims}


# ------------------------------------------------------------------ the page
def duration(seconds: float | None) -> str:
    """'48 s' or '9 min 12 s'."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def blanks(caption: str) -> Markup:
    """A caption with its hidden words as gaps."""
    gap = Markup('<span class="gap" role="img" aria-label="hidden word"></span>')
    return gap.join(caption.split("[MASK]"))


def render(work_dir: Path, kit: Path) -> tuple[str, dict]:
    """The page and the figures of a work_dir."""

    def picture(name: str) -> str:
        return "data:image/png;base64," + base64.b64encode((work_dir / name).read_bytes()).decode()

    trainings = {name: read_training(work_dir / name) for name in STAGES}
    metrics, claims = read_evaluation(work_dir / "evaluation")
    figures = summary(
        read_json(work_dir / "timing.json"), {k: v for k, v in trainings.items() if v is not None}, metrics, claims
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "duration": duration,
        "blanks": blanks,
        "picture": picture,
        "binomial_error": binomial_error,
    }
    page = environment.get_template("report_template.html").render(
        figures=figures,
        stages=STAGES,
        stage_names=STAGE_NAMES,
        charts={name: training and loss_charts(training) for name, training in trainings.items()},
        metrics=by_name(metrics),
        examples=read_json(work_dir / "examples.json"),
        commands=read_json(work_dir / "commands.json"),
        kit=read_json(kit / "kit.json"),
        work_dir=work_dir.as_posix(),
    )
    return page, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument("--kit", type=Path, default=Path("data/kit"))
    args = parser.parse_args()
    page, figures = render(args.work_dir, args.kit)
    (args.work_dir / "report.html").write_text(page, encoding="utf-8")
    (args.work_dir / "report.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"wrote {args.work_dir / 'report.html'} and {args.work_dir / 'report.json'}")


if __name__ == "__main__":
    main()
