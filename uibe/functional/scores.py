"""Scores of a labelled set of detectors: S1, S2, their curves, interpretable and unique detectors.

All of them are functions of two vectors: each detector's label and its IoU for that label on images
that took no part in choosing it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "INTERPRETABLE_IOU",
    "DissectionScores",
    "assign_labels",
    "category_scores",
    "dissection_scores",
    "s1",
    "s2",
    "score_curves",
]

INTERPRETABLE_IOU = 0.04
"""Network Dissection's cut: a detector counts as interpretable strictly above it."""


class DissectionScores(NamedTuple):
    """Headline numbers of a set of detectors (method.md section 4).

    Attributes:
        S1: sum of all detectors' IoU, in [0, I].
        S2: sum over labels of the best IoU among the label's detectors, in [0, min(I, C)].
        interpretable: number of detectors above the IoU cut.
        unique: number of distinct labels among those.
    """

    S1: float
    S2: float
    interpretable: int
    unique: int


def assign_labels(iou: Tensor) -> Tensor:
    """Each detector's label `c* = argmax_c IoU`, shape `(I,)` int64; the first concept wins a tie.

    Args:
        iou: `(I, C)` on the **train** split.

    Example:
        >>> assign_labels(torch.tensor([[0.1, 0.3], [0.2, 0.2]])).tolist()
        [1, 0]
    """
    best = iou.amax(1, keepdim=True)
    return (iou == best).int().argmax(1)


def s1(iou: Tensor) -> float:
    """`S1 = integral over xi of #{i : iou_i >= xi} = sum_i iou_i`.

    Example:
        >>> s1(torch.tensor([0.5, 0.25], dtype=torch.float64))
        0.75
    """
    return float(iou.double().sum())


def s2(iou: Tensor, labels: Tensor) -> float:
    """`S2 = integral over xi of #{labels with a detector >= xi}`: best IoU of each label, summed.

    Args:
        iou: `(I,)` each detector's IoU for its label, on the **validation** split.
        labels: `(I,)` int64.

    Example:
        >>> s2(torch.tensor([0.5, 0.25, 0.125], dtype=torch.float64), torch.tensor([3, 3, 0]))
        0.625
    """
    if len(iou) == 0:
        return 0.0
    best = torch.zeros(int(labels.max()) + 1, dtype=torch.float64, device=iou.device)
    return float(best.scatter_reduce_(0, labels, iou.double(), "amax").sum())


def dissection_scores(iou: Tensor, labels: Tensor, cut: float = INTERPRETABLE_IOU) -> DissectionScores:
    """S1, S2 and the numbers of interpretable and unique detectors.

    Args:
        iou: `(I,)` each detector's validation IoU for its label.
        labels: `(I,)` int64.
        cut: a detector is interpretable strictly above it.

    Example:
        >>> iou = torch.tensor([0.5, 0.25, 0.04], dtype=torch.float64)
        >>> dissection_scores(iou, torch.tensor([3, 3, 0]))
        DissectionScores(S1=0.79, S2=0.54, interpretable=2, unique=1)
    """
    good = iou > cut
    return DissectionScores(s1(iou), s2(iou, labels), int(good.sum()), len(set(labels[good].tolist())))


def category_scores(
    iou: Tensor, labels: Tensor, categories: Tensor, num_categories: int, cut: float = INTERPRETABLE_IOU
) -> list[DissectionScores]:
    """The scores of each category's detectors alone; a detector belongs to its label's category.

    Args:
        iou: `(I,)`.
        labels: `(I,)` int64.
        categories: `(C,)` int64, the category of each concept.
        num_categories: K.
        cut: a detector is interpretable strictly above it.

    Example:
        >>> scores = category_scores(torch.tensor([0.5, 0.25]), torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
        >>> [score.S1 for score in scores]
        [0.25, 0.5]
    """
    owner = categories[labels]
    return [dissection_scores(iou[owner == k], labels[owner == k], cut) for k in range(num_categories)]


def score_curves(iou: Tensor, labels: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of detectors and of distinct labels at or above each IoU cut; S1 and S2 are their areas.

    Args:
        iou: `(I,)`.
        labels: `(I,)` int64.
        cuts: `(X,)` values of xi in [0, 1].

    Returns:
        Two `(X,)` int64 vectors.

    Example:
        >>> iou, cuts = torch.tensor([0.5, 0.25]), torch.tensor([0.0, 0.3, 0.6])
        >>> curves = score_curves(iou, torch.tensor([3, 3]), cuts)
        >>> [curve.tolist() for curve in curves]
        [[2, 1, 0], [1, 1, 0]]
    """
    reached = iou[None] >= cuts[:, None]
    labels_reached = torch.zeros(len(cuts), int(labels.max()) + 1 if len(labels) else 0, dtype=torch.int64)
    labels_reached.index_add_(1, labels.cpu(), reached.long().cpu())
    return reached.sum(1), (labels_reached > 0).sum(1).to(reached.device)
