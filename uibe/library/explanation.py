"""A prediction, taken apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from uibe.functional.explanation import Coordinates, contribution_maps
from uibe.functional.presence import levels, split_by_level
from uibe.library.columns import columns
from uibe.library.naming import UNCLEAR
from uibe.report.explanation_residual import missed_note

__all__ = ["ConceptSum", "Explanation", "sums_by_concept"]


class ConceptSum(NamedTuple):
    """What the directions of one concept add to a logit.

    Attributes:
        name: of the concept, or `direction 5`; `unclear` of all directions whose label hardly overlaps.
        contribution: their sum, `above + below`.
        directions: their numbers.
        above: the part from directions that respond as on average or more: there is more of the concept.
        below: the part from directions that respond less than on average: there is less of the concept.
    """

    name: str
    contribution: float
    directions: tuple[int, ...]
    above: float
    below: float

    def __repr__(self) -> str:
        """In a line."""
        number = len(self.directions)
        count = f"{number} direction{'s' * (number != 1)}"
        parts = f"{self.above:+.2f} above average, {self.below:+.2f} below"
        return f"ConceptSum({self.name} {self.contribution:+.2f}: {parts}, {count})"


def sums_by_concept(contributions: Tensor, concepts: Sequence[str], level: Tensor) -> list[ConceptSum]:
    """Sums over the directions of each concept, the largest first; together they are the sum of all.

    Args:
        contributions: `(I,)`.
        concepts: I names.
        level: `(I,)`, whose signs say which directions respond less than on average.

    Example:
        >>> import torch
        >>> level = torch.tensor([1.0, 1.0, -1.0])
        >>> found = sums_by_concept(torch.tensor([1.0, -2.0, 3.0]), ["sky", "car", "sky"], level)
        >>> [(each.name, each.contribution, each.above, each.below) for each in found]
        [('sky', 4.0, 1.0, 3.0), ('car', -2.0, -2.0, 0.0)]
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(concepts):
        places.setdefault(name, []).append(place)
    split = split_by_level(contributions, level)
    found = []
    for name, own in places.items():
        total, above, below = (float(each[own].sum()) for each in (contributions, *split))
        found.append(ConceptSum(name, total, tuple(own), above, below))
    return sorted(found, key=lambda each: -each.contribution)


@dataclass(frozen=True, repr=False)
class Explanation:
    """Logits of an image, split over directions: `logits = constant + contributions.sum(1) + residual`.

    Attributes:
        classes: K numbers of outputs.
        names: of the classes.
        logits: `(K,)` float64.
        constant: `(K,)`, logits of the mean feature everywhere.
        contributions: `(K, I)`.
        residual: `(K,)`, what the directions do not explain.
        features: `(D, H, W)` of the image.
        gradients: `(K, D, H, W)`.
        basis: the directions.
        concepts: of the I directions.
        layer: where the network is cut.

    Example:
        >>> import torch
        >>> basis = Coordinates(torch.eye(2), torch.eye(2), torch.zeros(2))
        >>> parts = torch.tensor([[3.0, -1.0]]), torch.tensor([0.0])
        >>> planes = torch.tensor([3.0, -1.0]).view(2, 1, 1), torch.ones(1, 2, 1, 1)
        >>> one = torch.tensor([1.0])
        >>> found = Explanation([7], ["street"], one + 2, one, *parts, *planes, basis, ("road", "sky"))
        >>> found
        Explanation(street 3.00; 2 directions of 2 concepts)
        >>> found.top(1)
        [ConceptSum(road +3.00: +3.00 above average, +0.00 below, 1 direction)]
        >>> print(found.summary())
        street: 3.00 = constant 1.00 + directions 2.00 + residual 0.00
        concept  contribution  above average  below average  directions
        road     +3.00         +3.00          +0.00          1
        sky      -1.00         +0.00          -1.00          1
    """

    classes: list[int]
    names: list[str]
    logits: Tensor
    constant: Tensor
    contributions: Tensor
    residual: Tensor
    features: Tensor
    gradients: Tensor
    basis: Coordinates
    concepts: tuple[str, ...]
    layer: str = "the layer"

    def __repr__(self) -> str:
        """In a line."""
        logits = ", ".join(
            f"{name} {logit:.2f}" for name, logit in zip(self.names, self.logits.tolist(), strict=True)
        )
        number = f"{len(self.concepts)} directions of {len(set(self.concepts))} concepts"
        return f"Explanation({logits}; {number})"

    @property
    def levels(self) -> Tensor:
        """`(I,)`, how far each direction responds above its average, or below it, over the whole image."""
        return levels(self.features[None], self.basis)[0]

    def by_concept(self, place: int = 0) -> list[ConceptSum]:
        """Contributions to the class at `place`, summed by concept, the largest first."""
        return sums_by_concept(self.contributions[place], self.concepts, self.levels)

    def top(self, count: int = 5, place: int = 0, negative: bool = False) -> list[ConceptSum]:
        """The concepts that speak most for the class at `place`, or against it; `unclear` is not among them.

        Args:
            count: fewer if fewer do.
            place: of the class in `classes`.
            negative: those against it, the strongest first.
        """
        found = [each for each in self.by_concept(place) if each.name != UNCLEAR]
        if negative:
            return [each for each in reversed(found) if each.contribution < 0][:count]
        return [each for each in found if each.contribution > 0][:count]

    def summary(self, place: int = 0, count: int = 5) -> str:
        """The logit of the class at `place` as a sum, and the strongest concepts for and against it.

        `above average` and `below average` are the parts of a contribution from directions that respond more
        in this image than on average, and less: a concept may speak for a class by being missing.
        Where the residual is above a tenth of the logit, a line says so.
        """
        total, names = float(self.contributions[place].sum()), self.names[place]
        head = (
            f"{names}: {float(self.logits[place]):.2f} = constant {float(self.constant[place]):.2f} "
            f"+ directions {total:.2f} + residual {float(self.residual[place]):.2f}"
        )
        shown = [*self.top(count, place), *reversed(self.top(count, place, negative=True))]
        shown += [each for each in self.by_concept(place) if each.name == UNCLEAR]
        rows = [
            [
                each.name,
                *(f"{value:+.2f}" for value in (each.contribution, each.above, each.below)),
                str(len(each.directions)),
            ]
            for each in shown
        ]
        note = [self.missed(place)] if self.missed(place) else []
        heads = ["concept", "contribution", "above average", "below average", "directions"]
        return "\n".join([head, *note, *columns(heads, rows)])

    def missed(self, place: int = 0) -> str:
        """How much the split misses of the logit at `place` and why, if that is above a tenth; else empty."""
        parts = float(self.logits[place]), float(self.residual[place])
        return missed_note(*parts, self.layer, *self.basis.directions.shape)

    def strongest(self, place: int, count: int = 3, negative: bool = False) -> list[int]:
        """Directions with the largest positive, or negative, contributions to the class at `place`."""
        values = -self.contributions[place] if negative else self.contributions[place]
        found = values.argsort(descending=True, stable=True)[:count].tolist()
        return [number for number in found if values[number] > 0]

    def heat_maps(self, place: int, directions: Sequence[int]) -> Tensor:
        """Per-pixel terms of directions' contributions to the class at `place`, `(n, H, W)` of the layer."""
        return contribution_maps(self.features, self.gradients[place], self.basis, directions)
