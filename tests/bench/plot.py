"""A plot as SVG: lines over two axes, with nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
POINTS_MAX, MARKED_MAX, TICKS = 400, 20, 5
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#b8860b", "#444444")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """What a benchmark draws beside its figures: lines by name, each ascending in x; both axes begin at 0.

    The points of a line that has few are marked: one alone would not be seen.
    """

    bench: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Points]


def svg(plot: Plot) -> str:
    """The whole document."""
    points = [point for line in plot.lines.values() for point in line]
    x_step, y_step = (_step(max((point[axis] for point in points), default=1.0)) for axis in (0, 1))
    x_scale = (WIDTH - LEFT - RIGHT) / (TICKS * x_step)
    y_scale = (HEIGHT - TOP - BOTTOM) / (TICKS * y_step)
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', _text(LEFT, 20, plot.title)]
    for tick in range(TICKS + 1):
        x, y = LEFT + tick * x_step * x_scale, HEIGHT - BOTTOM - tick * y_step * y_scale
        parts.append(
            f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        )
        parts.append(_text(x, HEIGHT - BOTTOM + 16, f"{tick * x_step:g}", "middle"))
        parts.append(_text(LEFT - 6, y + 4, f"{tick * y_step:g}", "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, plot.x, "middle"))
    parts.append(_text(LEFT, TOP - 6, plot.y))
    for number, (name, line) in enumerate(plot.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(LEFT + x * x_scale, HEIGHT - BOTTOM - y * y_scale) for x, y in _some(line)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(places) <= MARKED_MAX:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(_text(WIDTH - RIGHT, TOP + 14 * (number + 1), name, "end", colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
    return head + 'font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _step(most: float) -> float:
    """A round number of which so many as there are ticks reach as far as `most`."""
    least = max(most, 1e-9) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10, 20) if step * power >= least * (1 - 1e-9))


def _some(line: Points) -> Iterator[tuple[float, float]]:
    """Evenly many of them, with the first and the last."""
    stride = max(1, math.ceil((len(line) - 1) / (POINTS_MAX - 1)))
    yield from line[:-1:stride]
    yield from line[-1:]
