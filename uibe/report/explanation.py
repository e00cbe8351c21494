"""An explained prediction in words and numbers: what the figures, the table and the JSON are made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table
from rich.text import Text
from torch import Tensor

from uibe.errors import printable
from uibe.functional.scores import INTERPRETABLE_IOU

__all__ = [
    "ClassParts",
    "Part",
    "Step",
    "concepts_line",
    "explanation_table",
    "iou_text",
    "names_note",
    "parts_document",
]

_UNCLEAR = "no clear concept"


class Part(NamedTuple):
    """What a concept, or a single direction, adds to a logit.

    Attributes:
        directions: their numbers, whose contributions are summed.
        name: label and category, with the number in front where it is a single direction.
        detail: IoU, empty where there are no labels.
        value: contribution to the logit, `above + below`.
        heat: `(H, W)` per-pixel terms, which add up to `value`.
        above: the part of `value` from directions that respond as on average or more.
        below: the part from directions that respond less than on average.
        is_clear: False for the directions that name no concept, which are summed.
    """

    directions: Sequence[int]
    name: str
    detail: str
    value: float
    heat: Tensor
    above: float
    below: float
    is_clear: bool = True

    @property
    def title(self) -> str:
        """What it is called where it is shown."""
        return self.name if self.is_clear else _UNCLEAR

    @property
    def is_less(self) -> bool:
        """Whether most of it comes from less than on average."""
        return abs(self.below) > abs(self.above)


class Step(NamedTuple):
    """A bar of the chart and a row of the table.

    Attributes:
        name: what it is.
        value: in units of the logit.
        part: the concept or direction; None for sums of others, the constant and the residual.
        summed: directions that it sums, 0 where that is not told.
    """

    name: str
    value: float
    part: Part | None = None
    summed: int = 0


class ClassParts(NamedTuple):
    """A logit and what it is made of: `logit = constant + shown + others + unclear + residual`.

    Attributes:
        number: of the output.
        name: of the class.
        logit: what the network says.
        constant: logit of the mean feature everywhere.
        positive: concepts or directions with the largest contributions.
        negative: those with the lowest.
        others_for: sum and number of all others with a positive contribution.
        others_against: likewise, negative.
        unclear: sum and number of the directions that name no concept, where they are not among those shown,
            or among the others; else (0, 0).
        residual: what the directions do not explain.
        covered: absolute contributions of those shown, without *no clear concept*, as a share of all absolute
            contributions, in [0, 1].
        missed: a sentence on a residual that is large; else empty.
    """

    number: int
    name: str
    logit: float
    constant: float
    positive: Sequence[Part]
    negative: Sequence[Part]
    others_for: tuple[float, int]
    others_against: tuple[float, int]
    unclear: tuple[float, int]
    residual: float
    covered: float
    missed: str = ""

    @property
    def shown(self) -> list[Part]:
        """Those that are shown one by one."""
        return [*self.positive, *self.negative]

    @property
    def sums_directions(self) -> bool:
        """Whether it is split by concept."""
        return self.unclear[1] > 0 or any(
            len(part.directions) > 1 or not part.is_clear for part in self.shown
        )

    def steps(self) -> list[Step]:
        """All parts, in the order in which they are shown; they add up to the logit."""
        (plus, num_plus), (minus, num_minus) = self.others_for, self.others_against
        value, count = self.unclear
        return [
            Step("constant", self.constant),
            *(Step(part.title, part.value, part, len(part.directions)) for part in self.positive),
            *([Step(f"{_others(num_plus)} for it", plus)] if num_plus else []),
            *(Step(part.title, part.value, part, len(part.directions)) for part in self.negative),
            *([Step(f"{_others(num_minus)} against it", minus)] if num_minus else []),
            *([Step(_UNCLEAR, value, None, count)] if count else []),
            Step("residual", self.residual),
        ]


def iou_text(iou: float) -> str:
    """An IoU with three decimals, or as many as show on which side of the cut for a clear concept it is.

    Example:
        >>> iou_text(0.3), iou_text(0.04), iou_text(0.04002)
        ('0.300', '0.040', '0.04002')
    """
    digits = 3
    while (float(f"{iou:.{digits}f}") > INTERPRETABLE_IOU) != (iou > INTERPRETABLE_IOU):
        digits += 1
    return f"{iou:.{digits}f}"


def names_note(data: str, categories: Sequence[str]) -> str:
    """Where names and IoU come from, and how far they hold; a sentence.

    Args:
        data: name of the labelled data set.
        categories: of its concepts.

    Example:
        >>> names_note("broden-mini", ["object", "part"])  # doctest: +ELLIPSIS
        'Names are concepts of broden-mini (object, part), each IoU is of its validation images: on other ...
    """
    return (
        f"Names are concepts of {printable(data)} ({', '.join(map(printable, categories))}), each IoU is of "
        "its validation images: on other kinds of photographs names may mean little."
    )


def explanation_table(title: str, parts: ClassParts) -> Table:
    """A table for the terminal: every part, and the logit that they add up to.

    `above average` and `below average` are the parts of a row from directions that respond more in this
    picture than on average, and less.

    Example:
        >>> parts = ClassParts(0, "cat", 3.0, 1.0, [], [], (3.0, 5), (-1.0, 4), (0.0, 0), 0.0, 0.0)
        >>> explanation_table("a.png: cat", parts).row_count
        5
    """
    table = Table(title=escape(title), title_justify="left")
    if parts.missed:
        table.caption, table.caption_justify = Text(parts.missed, style="bold red"), "left"
    table.add_column("part", overflow="fold")
    table.add_column("directions", justify="right")
    table.add_column("mean IoU [95%]" if parts.sums_directions else "IoU [95%]")
    for head in ("adds to\nthe logit", "above\naverage", "below\naverage"):
        table.add_column(head, justify="right", no_wrap=True)
    steps = parts.steps()
    for place, (name, value, part, summed) in enumerate(steps, 1):
        detail = part.detail.removeprefix("mean ").removeprefix("IoU ") if part else ""
        sides = (_signed(part.above), _signed(part.below)) if part else ("", "")
        cells = escape(name), str(summed or ""), escape(detail), _signed(value), *sides
        table.add_row(*cells, end_section=place == len(steps))
    table.add_row("logit", "", "", f"{parts.logit:+.4f}", "", "", style="bold")
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
    directions: ClassParts,
    by_concept: ClassParts | None,
    contributions: Sequence[float],
    concepts: Mapping[str, float],
    presence: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """All numbers of an explained class, unrounded, by direction and by concept.

    Args:
        directions: the strongest directions with their heat maps.
        by_concept: likewise the strongest concepts; None where there are no labels.
        contributions: of all directions.
        concepts: contributions summed over the directions of each label.
        presence: what each of these comes from, `above` its average and `below` it.
    """
    return {
        "class": directions.number,
        "name": directions.name,
        "logit": directions.logit,
        "constant": directions.constant,
        "residual": directions.residual,
        "strongest": [{"direction": part.directions[0], **_numbers(part)} for part in directions.shown],
        "strongest_concepts": [
            {"concept": part.name, "directions": list(part.directions), **_numbers(part)}
            for part in (by_concept.shown if by_concept else ())
        ],
        "concepts": dict(concepts),
        "presence": {name: dict(sides) for name, sides in presence.items()},
        "contributions": list(contributions),
    }


def _numbers(part: Part) -> dict[str, Any]:
    """Contribution and heat map of a part, unrounded."""
    return {
        "contribution": part.value,
        "above": part.above,
        "below": part.below,
        "heat_map": part.heat.tolist(),
    }


def _others(number: int) -> str:
    return f"{number} other{'s' * (number != 1)}"


def _signed(value: float) -> str:
    return f"{value:+.1e}" if 0 < abs(value) < 5e-4 else f"{value:+.4f}"
