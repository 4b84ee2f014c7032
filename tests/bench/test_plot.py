"""Plots: whole documents, whose lines are where the numbers say."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.bench.plot import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    MARKED_MAX,
    POINTS_MAX,
    RIGHT,
    TOP,
    WIDTH,
    Plot,
    svg,
)
from tests.bench.storm import resumed_plot

SVG = "{http://www.w3.org/2000/svg}"


def _drawn(plot: Plot) -> tuple[list[list[tuple[float, float]]], list[str]]:
    """The points of each line, and all texts."""
    root = ElementTree.fromstring(svg(plot))
    lines = [
        [
            (float(x), float(y))
            for x, _, y in (point.partition(",") for point in line.get("points", "").split())
        ]
        for line in root.iter(f"{SVG}polyline")
    ]
    return lines, [text.text or "" for text in root.iter(f"{SVG}text")]


def test_the_corners_of_a_line_are_the_corners_of_the_plot() -> None:
    """From the origin to the greatest round numbers: from bottom left to top right."""
    lines, texts = _drawn(Plot("b", "a < b & c", "x", "y", {"one": [(0, 0), (10, 100)]}))
    assert lines == [[(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]]
    assert {"a < b & c", "x", "y", "one", "0", "10", "100"} <= set(texts)


def test_a_plot_stays_small_and_keeps_its_ends() -> None:
    """Of many points some are left out, never the first and the last; nothing leaves the plot."""
    many = [(float(number), float(number)) for number in range(10_007)]
    (line,), _ = _drawn(Plot("b", "t", "x", "y", {"one": many}))
    assert len(line) <= POINTS_MAX
    assert line[0] == (LEFT, HEIGHT - BOTTOM)
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in line)
    assert line[-1][0] > line[-2][0]


def test_a_single_point_is_seen() -> None:
    """A line needs two; the points of a long line are not marked."""
    long = [(float(number), 1.0) for number in range(MARKED_MAX + 1)]
    root = ElementTree.fromstring(svg(Plot("b", "t", "x", "y", {"one": [(10, 100)], "long": long})))
    (mark,) = root.iter(f"{SVG}circle")
    assert (float(mark.get("cx", "")), float(mark.get("cy", ""))) == (
        LEFT + (WIDTH - LEFT - RIGHT) * 10 / 25,
        TOP,
    )


def test_no_points_and_many_lines_can_be_drawn() -> None:
    """An empty plot, and more lines than colours."""
    assert _drawn(Plot("b", "t", "x", "y", {}))[0] == []
    names = {f"line {number}": [(0.0, 1.0)] for number in range(len(COLOURS) + 2)}
    lines, texts = _drawn(Plot("b", "t", "x", "y", names))
    assert len(lines) == len(names)
    assert set(names) <= set(texts)


def test_a_storm_is_drawn_as_the_share_that_is_back() -> None:
    """In the order of time, and short of 100 % if somebody never came back."""
    plot = resumed_plot([[2.0, 1.0], [3.0]], clients=2)
    assert plot.lines == {"storm 1": [(0, 0), (1, 50), (2, 100)], "storm 2": [(0, 0), (3, 50)]}
