"""Network Dissection's counts by loops over images, detectors, pixels and concepts (method.md section 3)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["ImageTruth", "bilinear", "iou", "tally"]

Counts = npt.NDArray[np.int64]


class ImageTruth(NamedTuple):
    """One image: `(I, h, w)` scores, `(planes, sh, sw)` codes, image-wide concepts, `(K,)` annotated."""

    maps: npt.NDArray[Any]
    planes: npt.NDArray[Any]
    image_wide: Sequence[int]
    annotated: Sequence[bool]


def _sources(position: int, size: int, target: int) -> tuple[int, int, float]:
    """The two source pixels of a target pixel's centre and the weight of the second, clamped at the edge."""
    centre = max((position + 0.5) * size / target - 0.5, 0.0)
    first = min(int(np.floor(centre)), size - 1)
    return first, min(first + 1, size - 1), centre - first


def bilinear(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.float64]:
    """Bilinear interpolation at pixel centres (`align_corners=False`)."""
    out = np.zeros((height, width))
    for y in range(height):
        top, bottom, down = _sources(y, values.shape[0], height)
        for x in range(width):
            left, right, along = _sources(x, values.shape[1], width)
            upper = float(values[top, left]) * (1 - along) + float(values[top, right]) * along
            lower = float(values[bottom, left]) * (1 - along) + float(values[bottom, right]) * along
            out[y, x] = upper * (1 - down) + lower * down
    return out


def _carries(image: ImageTruth, y: int, x: int, concept: int) -> bool:
    return concept in image.image_wide or any(int(plane[y, x]) == concept + 1 for plane in image.planes)


def _mask(image: ImageTruth, detector: int, threshold: float) -> list[tuple[int, int]]:
    """Pixels of the segmentation at which the detector fires."""
    scores, (height, width) = image.maps[detector], image.planes.shape[-2:]
    if float(scores.max()) <= threshold:
        return []
    up = bilinear(scores, height, width)
    return [(y, x) for y in range(height) for x in range(width) if up[y, x] > threshold]


def tally(
    images: Sequence[ImageTruth], thresholds: Sequence[float], categories: Sequence[int], union: str
) -> tuple[Counts, Counts, Counts]:
    """`(I, C)` intersections, `(I, K)` activated, `(C,)` labelled."""
    num_concepts, num_categories = len(categories), len(images[0].annotated)
    inter = np.zeros((len(thresholds), num_concepts), np.int64)
    act = np.zeros((len(thresholds), num_categories), np.int64)
    label = np.zeros(num_concepts, np.int64)
    for image in images:
        height, width = image.planes.shape[-2:]
        for concept in range(num_concepts):
            label[concept] += sum(_carries(image, y, x, concept) for y in range(height) for x in range(width))
        for detector, threshold in enumerate(thresholds):
            mask = _mask(image, detector, threshold)
            met = [sum(_carries(image, y, x, c) for y, x in mask) for c in range(num_concepts)]
            inter[detector] += met
            for k in range(num_categories):
                meets = any(met[c] > 0 for c in range(num_concepts) if categories[c] == k)
                if meets if union == "netdissect-lite" else image.annotated[k]:
                    act[detector, k] += len(mask)
    return inter, act, label


def iou(inter: Counts, act: Counts, label: Counts, categories: Sequence[int]) -> npt.NDArray[np.float64]:
    """`inter / (act + label - inter)`, 0 where that is empty."""
    out = np.zeros(inter.shape)
    for i in range(inter.shape[0]):
        for c in range(inter.shape[1]):
            union = int(act[i, categories[c]]) + int(label[c]) - int(inter[i, c])
            out[i, c] = int(inter[i, c]) / union if union else 0.0
    return out
