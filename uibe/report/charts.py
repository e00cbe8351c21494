"""Line charts as the page's template draws them: ticks, and points in the coordinates of the picture."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

__all__ = ["Chart", "Series", "Tick", "line_chart"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 52, 12, 356, 212  # of the plot in a picture of 420 x 272
_STYLES = 12


class Tick(NamedTuple):
    """A labelled place on an axis."""

    at: float
    label: str


class Series(NamedTuple):
    """A named line: `points` of an SVG polyline, `style` the number of its colour and dashes, 0 to 11."""

    name: str
    points: str
    style: int


class Chart(NamedTuple):
    """A chart with its axes."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    logarithmic: bool = False,
) -> Chart:
    """Lay out lines in one picture; the y axis starts at 0.

    Args:
        title: says what is seen, for those who cannot see it too.
        x_label: with unit.
        y_label: with unit.
        lines: name, x and y of each.
        logarithmic: whether the x axis is.

    Raises:
        ValueError: if there is no point.

    Example:
        >>> chart = line_chart("A", "x", "y", [("one", [0, 1], [0, 10])])
        >>> chart.series[0].points, [tick.label for tick in chart.y_ticks]
        ('52.0,224.0 408.0,12.0', ['0', '2', '4', '6', '8', '10'])
    """
    every_x = [x for _, xs, _ in lines for x in xs]
    every_y = [y for _, _, ys in lines for y in ys]
    if not every_x or not every_y:
        raise ValueError("expected at least one point, got none")
    x_ticks = _powers(every_x) if logarithmic else _steps(min(every_x), max(every_x))
    y_ticks = _steps(0.0, max(*every_y, 1e-9))
    low, high = min(x_ticks[0], *every_x), max(x_ticks[-1], *every_x)
    top = max(y_ticks[-1], *every_y)

    def x_at(value: float) -> float:
        share = _share(log10(value), log10(low), log10(high)) if logarithmic else _share(value, low, high)
        return round(_LEFT + _WIDTH * share, 1)

    def y_at(value: float) -> float:
        return round(_TOP + _HEIGHT * (1 - value / top), 1)

    series = tuple(
        Series(
            name,
            " ".join(f"{x_at(x)},{y_at(y)}" for x, y in zip(xs, ys, strict=True)),
            position % _STYLES,
        )
        for position, (name, xs, ys) in enumerate(lines)
    )
    return Chart(
        title,
        x_label,
        y_label,
        tuple(Tick(x_at(value), f"{value:g}") for value in x_ticks),
        tuple(Tick(y_at(value), f"{value:g}") for value in y_ticks),
        series,
    )


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _steps(low: float, high: float) -> list[float]:
    if low == high:
        return [low]
    return [round(float(tick), 10) for tick in MaxNLocator(5).tick_values(low, high)]


def _powers(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten around the values."""
    decades = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
    every = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    inside = [tick for tick in every if min(values) * 0.999 <= tick <= max(values) * 1.001]
    return inside or [min(values)]
