"""S1 and S2 as method.md section 4 defines them: areas under the curves of counts."""

from collections.abc import Sequence

__all__ = ["area", "count_detectors", "count_labels"]


def count_detectors(iou: Sequence[float], cut: float) -> int:
    """`#{i : iou_i >= cut}`."""
    return sum(1 for value in iou if value >= cut)


def count_labels(iou: Sequence[float], labels: Sequence[int], cut: float) -> int:
    """Number of distinct labels that have a detector at or above the cut."""
    return len({label for value, label in zip(iou, labels, strict=True) if value >= cut})


def area(iou: Sequence[float], labels: Sequence[int]) -> tuple[float, float]:
    """`(S1, S2)`: both curves are steps that fall at the IoUs only, so the areas are exact sums."""
    s1, s2, left = 0.0, 0.0, 0.0
    for right in sorted(set(iou)):
        s1 += (right - left) * count_detectors(iou, right)
        s2 += (right - left) * count_labels(iou, labels, right)
        left = right
    return s1, s2
