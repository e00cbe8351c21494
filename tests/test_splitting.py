"""Which concepts of a split are shown one by one, and which are summed."""

import pytest
import torch

from commands.labelling import Labelled
from commands.splitting import parts_by_concept, parts_by_direction
from uibe.functional.explanation import coordinates
from uibe.library.explanation import Explanation
from uibe.library.labels import Label
from uibe.report.explanation import ClassParts


def explanation(contributions: list[float], levels: list[float]) -> Explanation:
    """One pixel, single channels, and gradients that give these contributions."""
    size, parts = len(levels), torch.tensor([contributions], dtype=torch.float64)
    features = torch.tensor(levels, dtype=torch.float64).view(size, 1, 1)
    gradients = (parts[0].view(size, 1, 1) / features)[None]
    basis = coordinates(torch.eye(size), torch.zeros(size))
    zero = torch.zeros(1, dtype=torch.float64)
    names = tuple(f"direction {n}" for n in range(size))
    return Explanation([0], ["beach"], parts.sum(1), zero, parts, zero, features, gradients, basis, names)


def by_concept(contributions: list[float], levels: list[float], concepts: str, count: int = 2) -> ClassParts:
    """A letter a direction; `-` names no clear concept."""
    labels = tuple(Label(c, "object", 0.0 if c == "-" else 0.5, 0.0, 1.0) for c in concepts)
    labelled = Labelled(labels, torch.full((3, len(labels)), 0.5, dtype=torch.float64))
    return parts_by_concept(explanation(contributions, levels), 0, labelled, count)


def steps(parts: ClassParts) -> dict[str, float]:
    found = {step.name: step.value for step in parts.steps()}
    assert sum(found.values()) == pytest.approx(parts.logit)
    return {name: value for name, value in found.items() if name not in ("constant", "residual")}


def test_no_clear_concept_is_ranked_by_size_and_has_a_map() -> None:
    parts = by_concept([1.0, 2.0, 3.0, 0.5], [1.0, 1.0, -1.0, 1.0], "a--b")
    assert steps(parts) == {"no clear concept": 5.0, "a (object)": 1.0, "1 other for it": 0.5}
    first = parts.positive[0]
    assert (first.above, first.below, float(first.heat.sum())) == (2.0, 3.0, 5.0)
    assert parts.covered == pytest.approx(1 / 6.5)


def test_no_clear_concept_that_is_not_among_the_largest_keeps_its_row() -> None:
    parts = by_concept([3.0, 0.5, 2.0, 1.0], [1.0] * 4, "a-bc")
    assert steps(parts) == {
        "a (object)": 3.0,
        "b (object)": 2.0,
        "1 other for it": 1.0,
        "no clear concept": 0.5,
    }


def test_what_is_below_a_fiftieth_of_the_largest_goes_to_the_others() -> None:
    parts = by_concept([10.0, 0.19, -0.19, -0.3, 0.1], [1.0] * 5, "abcd-")
    assert steps(parts) == {
        "a (object)": 10.0,
        "2 others for it": pytest.approx(0.29),
        "d (object)": -0.3,
        "1 other against it": -0.19,
    }


def test_directions_that_add_nothing_are_no_row() -> None:
    assert steps(parts_by_direction(explanation([0.0, 0.0], [1.0, 1.0]), 0, None, 2)) == {}


def test_a_direction_says_on_which_side_it_is() -> None:
    parts = parts_by_direction(explanation([2.0, -1.0], [-0.5, 3.0]), 0, None, 2)
    assert [(part.above, part.below, part.is_less) for part in parts.shown] == [
        (0.0, 2.0, True),
        (-1.0, 0.0, False),
    ]
