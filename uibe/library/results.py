"""What is found in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import Tensor

from uibe.functional.explanation import Coordinates, contribution_maps
from uibe.library.labels import Label

__all__ = ["Box", "Detection", "Explanation", "Segmentation", "TopImage", "boxes"]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""


class Detection(NamedTuple):
    """A detector that fires in an image.

    Attributes:
        direction: its number.
        label: its concept, None where detectors have no labels.
        score: highest score in the image, in (0.5, 1).
        mask: `(H, W)` bool, where it fires, in the image's own size.
        boxes: of the mask's connected parts, the largest first.
    """

    direction: int
    label: Label | None
    score: float
    mask: Tensor
    boxes: list[Box]


class Segmentation(NamedTuple):
    """The strongest detector at each pixel.

    Attributes:
        directions: `(H, W)` int64, in the image's own size; -1 where none fires.
        names: of the directions that occur.
    """

    directions: Tensor
    names: dict[int, str]


class TopImage(NamedTuple):
    """An image in which a detector responds strongly.

    Attributes:
        name: of the file, or the image's number.
        image: RGB.
        projection: highest in the image; the detector fires where it exceeds its threshold.
        mask: `(H, W)` bool, where it fires.
    """

    name: str
    image: Image.Image
    projection: float
    mask: Tensor


@dataclass(frozen=True)
class Explanation:
    """Logits of an image, split over directions: `logits = constant + contributions.sum(1) + residual`.

    Attributes:
        classes: K numbers of outputs.
        names: of the classes.
        logits: `(K,)` float64.
        constant: `(K,)`, logits of the mean feature everywhere.
        contributions: `(K, I)`.
        residual: `(K,)`, what the directions do not explain.
        features: `(D, H, W)` of the image.
        gradients: `(K, D, H, W)`.
        basis: the directions.
    """

    classes: list[int]
    names: list[str]
    logits: Tensor
    constant: Tensor
    contributions: Tensor
    residual: Tensor
    features: Tensor
    gradients: Tensor
    basis: Coordinates

    def strongest(self, place: int, count: int = 3, negative: bool = False) -> list[int]:
        """Directions with the largest positive, or negative, contributions to the class at `place`."""
        values = -self.contributions[place] if negative else self.contributions[place]
        found = values.argsort(descending=True, stable=True)[:count].tolist()
        return [number for number in found if values[number] > 0]

    def heat_maps(self, place: int, directions: Sequence[int]) -> Tensor:
        """Per-pixel terms of directions' contributions to the class at `place`, `(n, H, W)` of the layer."""
        return contribution_maps(self.features, self.gradients[place], self.basis, directions)


def boxes(mask: Tensor) -> list[Box]:
    """Boxes of a mask's connected parts (edges in common), the largest part first.

    Args:
        mask: `(H, W)` bool.

    Example:
        >>> import torch
        >>> mask = torch.zeros(4, 6, dtype=torch.bool)
        >>> mask[0, 0], mask[1:3, 2:5] = True, True
        >>> boxes(mask)
        [(2, 1, 5, 3), (0, 0, 1, 1)]
    """
    parts, _ = ndimage.label(mask.cpu().numpy())
    sizes = np.bincount(parts.ravel())[1:]
    found = [
        (columns.start, rows.start, columns.stop, rows.stop)
        for rows, columns in (slices for slices in ndimage.find_objects(parts) if slices is not None)
    ]
    return [found[place] for place in np.argsort(-sizes, kind="stable").tolist()]
