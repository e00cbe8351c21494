"""An explained prediction in words and numbers: what the figures, the table and the JSON are made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table
from torch import Tensor

__all__ = ["ClassParts", "Part", "concepts_line", "explanation_table", "parts_document"]


class Part(NamedTuple):
    """A direction's share in a logit.

    Attributes:
        direction: its number.
        name: number, label and category.
        detail: IoU with its interval, empty where there are no labels.
        value: contribution to the logit.
        heat: `(H, W)` per-pixel terms, which add up to `value`.
    """

    direction: int
    name: str
    detail: str
    value: float
    heat: Tensor


class ClassParts(NamedTuple):
    """A logit and what it is made of: `logit = constant + shown + others + residual`.

    Attributes:
        number: of the output.
        name: of the class.
        logit: what the network says.
        constant: logit of the mean feature everywhere.
        positive: directions with the largest contributions.
        negative: directions with the lowest.
        others_for: sum and number of all other directions with a positive contribution.
        others_against: likewise, negative.
        residual: what the directions do not explain.
    """

    number: int
    name: str
    logit: float
    constant: float
    positive: Sequence[Part]
    negative: Sequence[Part]
    others_for: tuple[float, int]
    others_against: tuple[float, int]
    residual: float

    def steps(self) -> list[tuple[str, float]]:
        """Names and values of all parts, in the order in which they are shown; they add up to the logit."""
        (plus, num_plus), (minus, num_minus) = self.others_for, self.others_against
        return [
            ("constant", self.constant),
            *((part.name, part.value) for part in self.positive),
            (f"{num_plus} others for it", plus),
            *((part.name, part.value) for part in self.negative),
            (f"{num_minus} others against it", minus),
            ("residual", self.residual),
        ]


def explanation_table(title: str, parts: ClassParts) -> Table:
    """A table for the terminal: every part, and the logit that they add up to.

    Example:
        >>> parts = ClassParts(0, "cat", 3.0, 1.0, [], [], (3.0, 5), (-1.0, 4), 0.0)
        >>> explanation_table("a.png: cat", parts).row_count
        5
    """
    table = Table(title=escape(title), title_justify="left")
    table.add_column("part")
    table.add_column("IoU [95%]")
    table.add_column("share", justify="right")
    details = {part.name: part.detail for part in (*parts.positive, *parts.negative)}
    steps = parts.steps()
    for place, (name, value) in enumerate(steps, 1):
        cells = escape(name), escape(details.get(name, "")), _signed(value)
        table.add_row(*cells, end_section=place == len(steps))
    table.add_row("logit", "", f"{parts.logit:+.4f}", style="bold")
    return table


def concepts_line(concepts: Mapping[str, float], count: int = 5) -> str:
    """What each concept's directions add together, the largest first.

    Args:
        concepts: contributions summed over the directions of each label.
        count: how many to name.

    Example:
        >>> concepts_line({"sky": 0.5, "car": -2.0}, count=1)
        'by concept: car -2.00; 1 more'
    """
    largest = sorted(concepts, key=lambda name: -abs(concepts[name]))
    named = [f"{name} {concepts[name]:+.2f}" for name in largest[:count]]
    rest = len(largest) - len(named)
    return "by concept: " + ", ".join(named) + (f"; {rest} more" if rest else "")


def parts_document(
    parts: ClassParts, contributions: Sequence[float], concepts: Mapping[str, float]
) -> dict[str, Any]:
    """All numbers of an explained class, unrounded.

    Args:
        parts: the strongest directions with their heat maps.
        contributions: of all directions.
        concepts: contributions summed over the directions of each label.
    """
    return {
        "class": parts.number,
        "name": parts.name,
        "logit": parts.logit,
        "constant": parts.constant,
        "residual": parts.residual,
        "strongest": [
            {"direction": part.direction, "contribution": part.value, "heat_map": part.heat.tolist()}
            for part in (*parts.positive, *parts.negative)
        ],
        "concepts": dict(concepts),
        "contributions": list(contributions),
    }


def _signed(value: float) -> str:
    return f"{value:+.1e}" if 0 < abs(value) < 5e-4 else f"{value:+.4f}"
