"""Which detectors count, which fire in an image, and where."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.bilinear import upsample
from uibe.functional.detectors import Detectors, projection_maps
from uibe.library.labels import Label
from uibe.library.results import Detection, boxes

__all__ = ["check_limits", "counting", "detections", "leaders"]


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


def detections(
    image: Image.Image,
    features: Tensor,
    scores: Tensor,
    detectors: Detectors,
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
        features: `(D, H, W)` of it.
        scores: `(I,)`, highest in the image.
        detectors: all I.
        kept: numbers of those that count.
        names: of the I detectors.
        labels: of the I detectors, if known.
        top: how many at most; None for all.
        min_score: lower ones are left out.
    """
    place = torch.tensor(list(kept), dtype=torch.int64, device=features.device)
    maps = projection_maps(features[None], detectors.directions[place])[0]
    excess = (maps.flatten(1).amax(1) - detectors.thresholds[place]).tolist()
    peaks = scores[place].tolist()
    trust = [1.0 if labels is None else labels[number].iou for number in kept]
    order = sorted(range(len(peaks)), key=lambda each: (-peaks[each] * trust[each], -excess[each]))
    found: list[Detection] = []
    for each in order:
        if len(found) == top:
            break
        if excess[each] > 0 and peaks[each] >= min_score:
            number = kept[each]
            mask = upsample(maps[each, None], image.size[::-1])[0] > detectors.thresholds[number]
            if mask.any():  # a peak between the image's pixels may be missed
                label = None if labels is None else labels[number]
                found.append(Detection(number, label, peaks[each], mask.cpu(), boxes(mask), names[number]))
    return found
