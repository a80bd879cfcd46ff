"""Small charts as SVG text, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

Point = tuple[float, float]
WIDTH, HEIGHT = 260, 132
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 8, 18  # what ticks and their labels need


def number(value: float | None) -> str:
    """Three decimals, fewer where there are many digits before the point; a dash for what is not there."""
    if value is None:
        return "–"
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"


def line_chart(line: Sequence[Point], dots: Sequence[Point], title: str) -> Markup:
    """A falling or rising curve with its extremes on the axes.

    Args:
        line: (step, value), joined; at least one.
        dots: (step, value), drawn alone: held-out values.
        title: For those who hear the page instead of seeing it.
    """
    steps, values = zip(*line, *dots, strict=True)
    low, high, last = min(values), max(values), max(steps)
    span = (high - low) or 1.0

    def place(step: float, value: float) -> tuple[str, str]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / (last or 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / span
        return f"{x:.1f}", f"{y:.1f}"

    decimals = 2 if span >= 0.1 else 3
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{Markup.escape(title)}">']
    for value in (low, high) if high > low else (low,):
        y = place(0, value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{y}" dy="3.5" text-anchor="end">{value:.{decimals}f}</text>'
        )
    for step, anchor in ((0, "start"), (last, "end")):
        x = place(step, low)[0]
        parts.append(f'<text class="tick" x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}">{step:,.0f}</text>')
    points = " ".join(",".join(place(*point)) for point in line)
    parts.append(f'<polyline class="curve" points="{points}"/>')
    for point in dots:
        x, y = place(*point)
        parts.append(f'<circle class="held-out" cx="{x}" cy="{y}" r="3.5"/>')
    return Markup("".join([*parts, "</svg>"]))
