"""Which detectors count, which fire in an image, and where."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.regions import firing
from uibe.library.labels import Label
from uibe.library.results import Detection, boxes

__all__ = ["MIN_AREA", "check_limits", "counting", "detections", "leaders"]

MIN_AREA = 0.001
"""Share of an image below which a mask is a speck: in a photograph of 224 x 224 pixels, 50 of them."""


def check_limits(
    min_iou: float, top: int | None = None, min_score: float = 0.5, min_area: float = MIN_AREA
) -> None:
    """Refuse what would leave nothing, or means nothing.

    Raises:
        ConfigError: if a limit is out of range.
    """
    if top is not None and top < 1:
        raise ConfigError(f"top: expected at least 1, or None for all, got {top}")
    for name, share in (("min_iou", min_iou), ("min_score", min_score), ("min_area", min_area)):
        if not 0 <= share <= 1:
            raise ConfigError(f"{name}: expected a number from 0 to 1, got {share}")


def counting(labels: Sequence[Label] | None, number: int, min_iou: float) -> list[int]:
    """Numbers of the detectors, of I, whose label has at least an IoU; all of them without labels."""
    if labels is None:
        return list(range(number))
    return [place for place, label in enumerate(labels) if label.iou >= min_iou]


def leaders(labels: Sequence[Label] | None, numbers: Sequence[int]) -> list[int]:
    """Of the detectors of each label the one of the highest IoU; all of them without labels.

    Leaders and weights from the train split of broden-mini, at `blocks.6` of EfficientNet-Lite0: the mean
    IoU of 20 concepts on every second train and validation image is 0.39 and 0.35 for the leaders' masks,
    0.23 and 0.25 for the unions of a label's detectors, 0.35 and 0.30 for a majority weighted by IoU, and
    0.41 and 0.35 for one weighted by its fourth power: no clear gain. Where a pixel has one concept, it is
    0.33 and 0.31 with leaders, and 0.22 and 0.25 with all detectors.

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


def detections(
    image: Image.Image,
    logits: Tensor,
    kept: Sequence[int],
    names: Sequence[str],
    labels: Sequence[Label] | None,
    top: int | None = None,
    min_score: float = 0.5,
    min_area: float = MIN_AREA,
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
        min_area: smaller masks are left out, as a share of the image.

    Example:
        >>> import torch
        >>> logits = torch.tensor([2.0, -1.0]).view(2, 1, 1)
        >>> detections(Image.new("RGB", (4, 4)), logits, [0, 1], ["a", "b"], None)
        [Detection(a, direction 0, score 0.881, 100% of the image in 1 box)]
    """
    highest = logits.flatten(1).amax(1)
    peaks, scores = highest.tolist(), highest.sigmoid().tolist()
    trust = {number: 1.0 if labels is None else labels[number].iou for number in kept}
    found: list[Detection] = []
    for number in sorted(kept, key=lambda each: (-scores[each] * trust[each], -peaks[each])):
        if len(found) == top:
            break
        if peaks[number] > 0 and scores[number] >= min_score:
            mask = firing(logits[number], image.size[::-1])
            covered = float(mask.double().mean())
            if covered > 0 and covered >= min_area:  # a peak between the image's pixels may be missed
                label = None if labels is None else labels[number]
                found.append(Detection(number, label, scores[number], mask.cpu(), boxes(mask), names[number]))
    return found
