"""The findings as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from momo.ops import key_of

from .findings import whole
from .pictures import bar_chart, number, spread, thumbnail
from .terminal import assumed, findings

SHOWN, GROUPS, LEAKS, BROKEN = 24, 8, 8, 12  # samples, groups of duplicates, leaks, and broken samples a reason


def write_page(path: Path, examinations: Sequence[Any]) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    sections = [_section(done) for done in examinations]
    page = environment.get_template("page_template.html").render(sections=sections)
    path.write_text(page, encoding="utf-8", errors="backslashreplace")  # names of files need not be UTF-8


def _section(done: Any) -> dict[str, Any]:
    """What the template shows of an examination."""
    by_index = {sample.index: sample for sample in done.samples}
    good = whole(done.samples)
    shown = sorted(good, key=lambda sample: key_of("shown", sample.sample_id))[:SHOWN]  # by a hash, not by beauty
    picture = _pictures(partial(thumbnail, done.source.dataset))
    with_images = bool(done.summary["images"])
    theirs = {path: _pictures(partial(thumbnail, other.dataset)) for path, other in done.against.items()}
    return {
        "path": done.source.path,
        "reader": done.source.cfg["type"],
        "summary": done.summary,
        "findings": findings(done),
        "charts": [(title, bar_chart(title, found), found) for title, found in done.histograms.items()],
        "shares": done.shares,
        "samples": [(sample, picture(sample.index) if with_images else None) for sample in shown],
        "broken": {
            reason: spread([sample for sample in done.samples if sample.reason == reason], BROKEN)
            for reason in done.summary["broken"]
        },
        "groups": [
            (group, [(by_index[index], picture(index)) for index in group.indices[:4]])
            for group in _some_of_each_kind(done.duplicates)
        ],
        "num_groups": len(done.duplicates),
        "leaks": [
            (leak, by_index[leak.index], picture(leak.index), theirs[leak.other](leak.other_index))
            for leak in spread(done.leaks, LEAKS)
        ],
        "num_leaks": len(done.leaks),
        "assumed": assumed(done.speed) if done.speed else None,
    }


def _pictures(make: Callable[[int], str]) -> Callable[[int], str]:
    """Each thumbnail is made once."""
    made: dict[int, str] = {}

    def picture(index: int) -> str:
        if index not in made:
            made[index] = make(index)
        return made[index]

    return picture


def _some_of_each_kind(groups: Sequence[Any]) -> list[Any]:
    kinds = {group.kind for group in groups}
    return [one for kind in sorted(kinds) for one in [g for g in groups if g.kind == kind][: GROUPS // len(kinds)]]
