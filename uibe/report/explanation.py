"""An explained prediction in words and numbers: what the figures, the table and the JSON are made of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table
from torch import Tensor

__all__ = ["ClassParts", "Part", "explanation_table", "parts_document"]


class Part(NamedTuple):
    """A direction's share in a logit.

    Attributes:
        direction: its number.
        name: label and category, or the number again.
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
    """A logit and what it is made of: `logit = constant + positive + negative + rest + residual`.

    Attributes:
        number: of the output.
        name: of the class.
        logit: what the network says.
        constant: logit of the mean feature everywhere.
        positive: directions with the largest contributions.
        negative: directions with the lowest.
        rest: sum over all other directions.
        num_rest: how many those are.
        residual: what the directions do not explain.
    """

    number: int
    name: str
    logit: float
    constant: float
    positive: Sequence[Part]
    negative: Sequence[Part]
    rest: float
    num_rest: int
    residual: float

    def steps(self) -> list[tuple[str, float]]:
        """Names and values of all parts, in the order in which they are shown; they add up to the logit."""
        shown = [(part.name, part.value) for part in (*self.positive, *self.negative)]
        rest = (f"{self.num_rest} others", self.rest)
        return [("constant", self.constant), *shown, rest, ("residual", self.residual)]


def explanation_table(title: str, parts: ClassParts) -> Table:
    """A table for the terminal: every part, and the logit that they add up to.

    Example:
        >>> table = explanation_table("a.png: cat", ClassParts(0, "cat", 3.0, 1.0, [], [], 2.0, 9, 0.0))
        >>> table.row_count
        4
    """
    table = Table(title=escape(title), title_justify="left")
    table.add_column("part")
    table.add_column("direction", justify="right")
    table.add_column("IoU [95%]")
    table.add_column("share", justify="right")
    table.add_row("constant", "", "", f"{parts.constant:+.4f}")
    for part in (*parts.positive, *parts.negative):
        table.add_row(escape(part.name), str(part.direction), escape(part.detail), f"{part.value:+.4f}")
    table.add_row(f"{parts.num_rest} others", "", "", f"{parts.rest:+.4f}")
    table.add_row("residual", "", "", _small(parts.residual), end_section=True)
    table.add_row("logit", "", "", f"{parts.logit:+.4f}", style="bold")
    return table


def parts_document(parts: ClassParts, contributions: Sequence[float]) -> dict[str, Any]:
    """All numbers of an explained class, unrounded.

    Args:
        parts: the strongest directions with their heat maps.
        contributions: of all directions.
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
        "contributions": list(contributions),
    }


def _small(value: float) -> str:
    return f"{value:+.1e}" if abs(value) < 5e-4 else f"{value:+.4f}"
