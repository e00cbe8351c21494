"""What concept detectors are, in words and as a table."""

from collections.abc import Sequence

from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.columns import columns
from uibe.library.detecting import counting, leaders
from uibe.library.labels import Label
from uibe.library.naming import HOW_TO_LABEL

__all__ = ["concept_table", "labelled"]


def labelled(labels: Sequence[Label] | None, names: Sequence[str] = ()) -> str:
    """How many detectors name a concept, by an IoU of 0.04 or more.

    Args:
        labels: of the I detectors, if known.
        names: that supervised detectors have without labels.

    Example:
        >>> labelled([Label("sky", "object", 0.5, 0.4, 0.6), Label("car", "object", 0.01, 0.0, 0.1)])
        '1 labelled'
        >>> labelled(None)
        'no labels'
    """
    if labels is None:
        return f"{len(names)} named, no labels" if names else "no labels"
    return f"{len(counting(labels, len(labels), INTERPRETABLE_IOU))} labelled"


def concept_table(labels: Sequence[Label] | None, count: int) -> list[str]:
    """Lines of a table of concepts, those of the highest IoU first; without labels, how to get them.

    Args:
        labels: of the I detectors, if known.
        count: rows at most.

    Example:
        >>> sky = Label("sky", "object", 0.5, 0.4, 0.6)
        >>> print(*concept_table([sky, sky._replace(iou=0.2)], 20), sep=chr(10))
        concept  category  detectors  best  its IoU
        sky      object    2          0     0.50 [0.40, 0.60]
    """
    if labels is None:
        return [f"no labels: {HOW_TO_LABEL}"]
    kept = counting(labels, len(labels), INTERPRETABLE_IOU)
    best = sorted(leaders(labels, kept), key=lambda number: -labels[number].iou)
    names = [str(labels[number]) for number in kept]
    rows = []
    for number in best[:count]:
        label = labels[number]
        iou = f"{label.iou:.2f} [{label.low:.2f}, {label.high:.2f}]"
        rows.append([label.concept, label.category, str(names.count(str(label))), str(number), iou])
    more = [f"and {len(best) - count} more"] if len(best) > count else []
    return [*columns(["concept", "category", "detectors", "best", "its IoU"], rows), *more]
