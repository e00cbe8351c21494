"""An explanation's directions one by one, or by the concept that they are labelled with."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from commands.labelling import Labelled
from uibe.functional.intervals import interval
from uibe.library.explanation import Explanation, sums_by_concept
from uibe.library.labels import Label
from uibe.library.naming import UNCLEAR, concepts_of
from uibe.report.explanation import ClassParts, Part, iou_text

__all__ = ["concept_sums", "parts_by_concept", "parts_by_direction"]


class _Group(NamedTuple):
    """Directions that are shown as one."""

    name: str
    detail: str
    directions: list[int]


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
    return _parts(explanation, place, groups, [], count)


def parts_by_concept(explanation: Explanation, place: int, labelled: Labelled, count: int) -> ClassParts:
    """The strongest concepts of a class, each the sum of the directions that are labelled with it.

    Args:
        explanation: of an image.
        place: of the class among those explained.
        labelled: the directions; those that name no clear concept are summed by themselves.
        count: how many to show for the class, and against it.
    """
    labels, contributions = labelled.labels, explanation.contributions[place]
    sums = sums_by_concept(contributions, concepts_of(labels, (), len(labels)))
    groups = [
        _Group(each.name, _mean(labelled, list(each.directions), contributions), list(each.directions))
        for each in sums
        if each.name != UNCLEAR
    ]
    unclear = [number for each in sums if each.name == UNCLEAR for number in each.directions]
    return _parts(explanation, place, groups, unclear, count)


def concept_sums(contributions: torch.Tensor, labels: Sequence[Label] | None) -> dict[str, float]:
    """Sums over the directions of each label, the largest first; those of no clear concept together.

    Args:
        contributions: `(I,)`.
        labels: of the I directions; None gives no sums.

    Example:
        >>> labels = [Label("sky", "object", iou, 0.0, 1.0) for iou in (0.5, 0.3, 0.01)]
        >>> concept_sums(torch.tensor([1.0, -3.0, 0.5]), labels)
        {'unclear': 0.5, 'sky (object)': -2.0}
    """
    if labels is None:
        return {}
    found = sums_by_concept(contributions, concepts_of(labels, (), len(labels)))
    return {each.name: each.contribution for each in found}


def _parts(
    explanation: Explanation, place: int, groups: Sequence[_Group], unclear: list[int], count: int
) -> ClassParts:
    contributions = explanation.contributions[place]
    values = torch.stack(
        [contributions[group.directions].sum() for group in groups] or [contributions[:0].sum()]
    )
    order = values.argsort(stable=True).tolist()
    positive = [n for n in order[::-1] if values[n] > 0][:count]
    negative = [n for n in order if values[n] < 0][:count]
    others = values.clone()
    others[[*positive, *negative]] = 0
    rest = contributions[unclear].sum()
    total = values.abs().sum() + rest.abs()
    shown = (values - others).abs().sum()

    def part(n: int) -> Part:
        name, detail, directions = groups[n]
        heat = explanation.heat_maps(place, directions).sum(0)
        return Part(directions, name, detail, float(values[n]), heat)

    return ClassParts(
        number=explanation.classes[place],
        name=explanation.names[place],
        logit=float(explanation.logits[place]),
        constant=float(explanation.constant[place]),
        positive=[part(n) for n in positive],
        negative=[part(n) for n in negative],
        others_for=(float(others[others > 0].sum()), int((others > 0).sum())),
        others_against=(float(others[others < 0].sum()), int((others < 0).sum())),
        unclear=(float(rest), len(unclear)),
        residual=float(explanation.residual[place]),
        covered=float(shown / total) if total > 0 else 0.0,
        missed=explanation.missed(place),
    )


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
    mean, low, high, _ = interval(samples)
    return f"mean IoU {iou_text(mean)} [{max(low, 0.0):.3f}, {min(high, 1.0):.3f}]"
