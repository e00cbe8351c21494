"""Binary metrics of a detector as a classifier of pixels: precision, recall, average precision, F1, IoU."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BinaryRates", "average_precision", "best_f1_threshold", "binary_rates"]


class BinaryRates(NamedTuple):
    """What follows from counts, float64 in [0, 1], of any one shape; 0 where nothing could be counted.

    Attributes:
        precision: share of the pixels fired at that carry the concept.
        recall: share of the concept's pixels that are fired at.
        f1: harmonic mean of the two.
        iou: intersection over union.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor
    iou: Tensor


def binary_rates(intersections: Tensor, activated: Tensor, labelled: Tensor) -> BinaryRates:
    """Precision, recall, F1 and IoU (method.md section 4), at any resolution, from counts of one shape.

    Args:
        intersections: pixels where the detector fires and the concept is present.
        activated: pixels where the detector fires.
        labelled: pixels that carry the concept.

    Example:
        >>> rates = binary_rates(torch.tensor(2), torch.tensor(4), torch.tensor(2))
        >>> rates.precision.item(), rates.recall.item(), round(rates.f1.item(), 4), rates.iou.item()
        (0.5, 1.0, 0.6667, 0.5)
    """
    both = activated + labelled
    return BinaryRates(
        precision=_share(intersections, activated),
        recall=_share(intersections, labelled),
        f1=_share(2 * intersections, both),
        iou=_share(intersections, both - intersections),
    )


def average_precision(scores: Tensor, targets: Tensor) -> float:
    """`AP = sum_n (R_n - R_(n-1)) P_n` over the distinct scores in falling order, exact.

    Pixels of one score come in together, as in scikit-learn's `average_precision_score`; 0 without positives.

    Args:
        scores: `(P,)`.
        targets: `(P,)` bool.

    Example:
        >>> average_precision(torch.tensor([0.9, 0.5, 0.5]), torch.tensor([True, True, False]))
        0.8333333333333333
    """
    if not bool(targets.any()):
        return 0.0
    _, hits, fired = _ranking(scores, targets)
    gained = hits.diff(prepend=hits.new_zeros(1))
    return float((gained * (hits.double() / fired)).sum() / hits[-1])


def best_f1_threshold(scores: Tensor, targets: Tensor) -> Tensor:
    """The threshold `b` at which `score > b` has the highest F1, shape `()`.

    It lies halfway between the lowest score that fires and the next; the highest of equally good ones is
    taken. Without positives it is the highest score, so that nothing fires.

    Args:
        scores: `(P,)`, one or more.
        targets: `(P,)` bool.

    Example:
        >>> best_f1_threshold(torch.tensor([4.0, 3.0, 1.0]), torch.tensor([True, True, False])).item()
        2.0
    """
    values, hits, fired = _ranking(scores, targets)
    if not bool(hits[-1]):
        return values[0]
    f1 = binary_rates(hits, fired, hits[-1]).f1
    best = int((f1 == f1.max()).nonzero()[0, 0])
    lowest = values[best]
    below = values[best + 1] if best + 1 < len(values) else torch.nextafter(lowest, lowest - torch.inf)
    middle = lowest / 2 + below / 2
    return torch.where(middle < lowest, middle, below)  # two neighbours have nothing between them


def _ranking(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct scores in falling order; positives and pixels at or above each, int64."""
    values, order = scores.sort(descending=True)
    last = torch.ones_like(values, dtype=torch.bool)
    last[:-1] = values[1:] != values[:-1]
    ends = last.nonzero()[:, 0]
    return values[ends], targets[order].cumsum(0)[ends], ends + 1


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part.double() / whole.clamp(min=1), 0.0)
