"""The findings for a terminal, and for other programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .findings import whole
from .languages import METHOD
from .pictures import number


def findings(done: Any) -> list[tuple[str, str, str]]:
    """What there is to know of an examination, a row each: 'good', 'look' or 'bad', a title, and what was found."""
    counts, rows = done.summary, []
    part = "all" if counts["examined"] == counts["size"] else f"{counts['examined']:,} of them, drawn at random,"
    rows.append(("good", "Samples", f"{counts['size']:,}; {part} were examined"))
    share = counts["broken_total"] / max(counts["examined"], 1)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts["broken"].items())
    limit = (
        "more than the 1% that training tolerates by default" if share > 0.01 else "training replaces and counts them"
    )
    rows.append(
        ("bad" if share > 0.01 else "look", "Broken", f"{counts['broken_total']:,} ({share:.2%}): {reasons}; {limit}")
        if counts["broken_total"]
        else ("good", "Broken", "none")
    )
    rows += [_double(done)] if counts["images"] else []
    rows += [_texts(done)] if counts["texts"] else []
    rows += [_leaked(done)] if done.against and counts["images"] else []
    if done.speed:
        per_gpu = done.speed.needs.samples_per_s / done.speed.assumptions.gpus
        enough = done.speed.gives.samples_per_s >= per_gpu
        rows.append(("good" if enough else "look", "Speed", done.speed.verdict))
    rows += [("look", "Note", note) for note in done.source.notes]
    return rows


def _double(done: Any) -> tuple[str, str, str]:
    extra = Counter()
    for group in done.duplicates:
        extra[group.kind] += len(group.indices) - 1
    if not extra:
        return "good", "Duplicates", "none"
    text = ", ".join(f"{count:,} images with the {kind} as another" for kind, count in extra.items())
    return "look" if sum(extra.values()) * 50 > done.summary["images"] else "good", "Duplicates", text


def _texts(done: Any) -> tuple[str, str, str]:
    counts = done.summary
    text = f"{counts['texts']:,}, {counts['distinct_texts']:,} of them different"
    for field, found in done.shares.items():
        text += f"; {field} " + ", ".join(f"{name} {share:.0%}" for name, share in list(found.items())[:3])
    return "good" if counts["distinct_texts"] * 2 > counts["texts"] else "look", "Texts", f"{text} ({METHOD})"


def _leaked(done: Any) -> tuple[str, str, str]:
    if not done.leaks:
        return "good", "Leakage", f"none into {', '.join(done.against)}"
    kinds = Counter((leak.other, leak.kind) for leak in done.leaks)
    text = ", ".join(f"{count:,} images have the {kind} as one of {other}" for (other, kind), count in kinds.items())
    return "bad", "Leakage", f"{text}; drop them with tools/dataset/drop_leaked.py"


def print_report(examinations: Sequence[Any]) -> None:
    """A table a source."""
    console = Console()
    colours = {"good": "green", "look": "yellow", "bad": "red"}
    for done in examinations:
        table = Table(
            "", "", title=f"{done.source.path} ({done.source.cfg['type']})", show_header=False, title_justify="left"
        )
        for level, title, text in findings(done):
            table.add_row(f"[{colours[level]}]{title}[/]", text)
        for title, found in done.histograms.items():
            table.add_row(title, f"median {number(found.median)} {found.unit}, {number(found.edges[0])} to "
                          f"{number(found.edges[-1])} but for the largest 1%")  # fmt: skip
        if done.speed:
            table.add_row("Assumed", assumed(done.speed))
        console.print(table)


def assumed(speed: Any) -> str:
    """What the verdict rests on."""
    _, batch, tflop, step = speed.needs
    samples = " and ".join(f"{count} {name}" for name, count in batch.items())
    return (
        f"a GPU ({speed.assumptions.gpu}) of {speed.assumptions.peak:g} TFLOP/s, of which training reaches "
        f"{speed.assumptions.utilisation:.0%}; a step of {samples} a GPU, {tflop:.3g} TFLOP, in {step:.3g} s; of each "
        f"sample {', '.join(speed.gives.steps)}"
    )


def as_json(examinations: Sequence[Any]) -> str:
    return json.dumps([_plain(done) for done in examinations], indent=1, ensure_ascii=False)


def _plain(done: Any) -> dict[str, Any]:
    names = {sample.index: sample.sample_id for sample in done.samples}
    broken = [sample for sample in done.samples if sample.reason is not None]
    return {
        "path": done.source.path,
        "reader": done.source.cfg["type"],
        **done.summary,
        "findings": [{"level": level, "title": title, "text": text} for level, title, text in findings(done)],
        "broken_samples": [
            {"id": sample.sample_id, "reason": sample.reason, "message": sample.message} for sample in broken
        ],
        "duplicates": [
            {"kind": group.kind, "ids": [names[index] for index in group.indices]} for group in done.duplicates
        ],
        "leaks": [{**leak._asdict(), "id": names[leak.index]} for leak in done.leaks],
        "histograms": {title: found._asdict() for title, found in done.histograms.items()},
        **done.shares,
        "smallest": min((min(one.width, one.height) for one in whole(done.samples) if one.sha256), default=None),
        "speed": done.speed and {
            "verdict": done.speed.verdict,
            "gives": done.speed.gives._asdict(),
            "needs": done.speed.needs._asdict(),
            "assumptions": {**done.speed.assumptions._asdict(), "config": str(done.speed.assumptions.config)},
        },
    }  # fmt: skip
