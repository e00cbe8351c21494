"""What a detector is called, and how sure that is."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from uibe.functional.intervals import interval
from uibe.metrics.dissection import Dissection

__all__ = ["Label", "labels_of"]


class Label(NamedTuple):
    """The concept that a detector is named after.

    Attributes:
        concept: its name.
        category: of the concept.
        iou: on the validation split, in [0, 1].
        low: lower end of the 95% bootstrap interval of the IoU.
        high: upper end.
    """

    concept: str
    category: str
    iou: float
    low: float
    high: float

    def __str__(self) -> str:
        """Concept and category."""
        return f"{self.concept} ({self.category})"


def labels_of(result: Dissection, replicates: Tensor, concepts: Sequence[str]) -> tuple[Label, ...]:
    """Labels of dissected detectors; intervals are cut to the range of an IoU.

    Args:
        result: labels and scores of I detectors.
        replicates: `(1 + B, I)` IoU, from `uibe.metrics.dissection.dissect_replicates`.
        concepts: names of the C concepts.
    """
    found = []
    for label, samples in zip(result.labels.tolist(), replicates.T, strict=True):
        iou, low, high, _ = interval(samples, bounds=(0.0, 1.0))
        category = result.category_names[int(result.categories[label])]
        found.append(Label(concepts[label], category, iou, low, high))
    return tuple(found)
