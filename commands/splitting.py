"""An explanation's directions one by one, or by the concept that they are labelled with."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from commands.labelling import Labelled
from uibe.functional.intervals import interval
from uibe.functional.presence import split_by_level
from uibe.library.explanation import ConceptSum, Explanation, sums_by_concept
from uibe.library.labels import Label
from uibe.library.naming import UNCLEAR, concepts_of
from uibe.report.explanation import ClassParts, Part, iou_text

__all__ = ["concept_sums", "parts_by_concept", "parts_by_direction"]

_SMALL = 0.02
"""Share of the largest contribution below which nothing is shown by itself."""


class _Group(NamedTuple):
    """Directions that are shown as one."""

    name: str
    detail: str
    directions: list[int]
    is_clear: bool = True


def parts_by_direction(
    explanation: Explanation, place: int, labels: Sequence[Label] | None, count: int
) -> ClassParts:
    """The strongest single directions of a class, the others summed.

    Args:
        explanation: of an image.
        place: of the class among those explained.
        labels: of the directions.
        count: how many to show for the class, and against it.
    """
    contributions = explanation.contributions[place]
    groups = [
        _Group(_name(labels, number), _detail(labels, number), [number])
        for number in range(len(contributions))
    ]
    return _parts(explanation, place, groups, count)


def parts_by_concept(explanation: Explanation, place: int, labelled: Labelled, count: int) -> ClassParts:
    """The strongest concepts of a class, each the sum of the directions that are labelled with it.

    Args:
        explanation: of an image.
        place: of the class among those explained.
        labelled: the directions; those that name no clear concept are summed by themselves.
        count: how many to show for the class, and against it.
    """
    groups = []
    for each in concept_sums(explanation, place, labelled.labels):
        directions, is_clear = list(each.directions), each.name != UNCLEAR
        detail = _mean(labelled, directions, explanation.contributions[place]) if is_clear else ""
        groups.append(_Group(each.name, detail, directions, is_clear))
    return _parts(explanation, place, groups, count)


def concept_sums(explanation: Explanation, place: int, labels: Sequence[Label] | None) -> list[ConceptSum]:
    """Sums over the directions of each label, the largest first; those of no clear concept together.

    Args:
        explanation: of an image.
        place: of the class among those explained.
        labels: of the directions; None gives no sums.
    """
    if labels is None:
        return []
    concepts = concepts_of(labels, (), len(labels))
    return sums_by_concept(explanation.contributions[place], concepts, explanation.levels)


def _parts(explanation: Explanation, place: int, groups: Sequence[_Group], count: int) -> ClassParts:
    contributions = explanation.contributions[place]
    values = torch.stack([contributions[group.directions].sum() for group in groups])
    largest = float(values.abs().max())
    positive, negative = _largest(values, count, largest), _largest(-values, count, largest)
    others = values.clone()
    others[[*positive, *negative]] = 0
    clear = torch.tensor([group.is_clear for group in groups], device=values.device)
    total, named = values.abs().sum(), (values - others)[clear].abs().sum()
    apart = [n for n in _largest(others.abs(), len(groups), largest) if not clear[n]]
    unclear = (float(others[apart].sum()), sum(len(groups[n].directions) for n in apart))
    others[apart] = 0
    sides = split_by_level(contributions, explanation.levels)

    def part(n: int) -> Part:
        name, detail, directions, is_clear = groups[n]
        heat = explanation.heat_maps(place, directions).sum(0)
        above, below = (float(side[directions].sum()) for side in sides)
        return Part(directions, name, detail, float(values[n]), heat, above, below, is_clear)

    return ClassParts(
        number=explanation.classes[place],
        name=explanation.names[place],
        logit=float(explanation.logits[place]),
        constant=float(explanation.constant[place]),
        positive=[part(n) for n in positive],
        negative=[part(n) for n in negative],
        others_for=(float(others[others > 0].sum()), int((others > 0).sum())),
        others_against=(float(others[others < 0].sum()), int((others < 0).sum())),
        unclear=unclear,
        residual=float(explanation.residual[place]),
        covered=float(named / total) if total > 0 else 0.0,
        missed=explanation.missed(place),
    )


def _largest(values: torch.Tensor, count: int, largest: float) -> list[int]:
    """Places of the highest positive values, without what is small beside the largest of either sign."""
    order = values.argsort(descending=True, stable=True)[:count].tolist()
    return [n for n in order if values[n] > 0 and values[n] >= _SMALL * largest]


def _name(labels: Sequence[Label] | None, number: int) -> str:
    """The number, as several directions may share a label; a label that hardly overlaps is none."""
    if labels is None:
        return f"direction {number}"
    return f"{number} {concepts_of(labels[number : number + 1], (), 1)[0]}"


def _detail(labels: Sequence[Label] | None, number: int) -> str:
    """IoU with its interval."""
    if labels is None:
        return ""
    label = labels[number]
    return f"IoU {iou_text(label.iou)} [{label.low:.3f}, {label.high:.3f}]"


def _mean(labelled: Labelled, numbers: list[int], contributions: torch.Tensor) -> str:
    """The mean IoU of a concept's directions, weighted by absolute contribution, with its interval."""
    if len(numbers) == 1:
        return _detail(labelled.labels, numbers[0])
    weights = contributions[numbers].abs().double().cpu()
    weights = weights if bool(weights.any()) else torch.ones_like(weights)
    samples = labelled.replicates[:, numbers].double().cpu() @ (weights / weights.sum())
    mean, low, high, _ = interval(samples, bounds=(0.0, 1.0))
    return f"mean IoU {iou_text(mean)} [{low:.3f}, {high:.3f}]"
