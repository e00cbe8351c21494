"""What is found in an image."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import Tensor

from uibe.library.labels import Label

__all__ = ["Box", "Detection", "Segmentation", "TopImage", "boxes"]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""

_SHOWN = 5  # parts of a segmentation in its line


class Detection(NamedTuple):
    """A detector that fires in an image.

    The score is how far the projection lies above the detector's own threshold; it saturates, and is no
    probability that the concept is there. How far a name can be trusted, its label's IoU says.

    Attributes:
        direction: its number.
        label: its concept, None where detectors have no labels.
        score: highest score in the image, in (0.5, 1].
        mask: `(H, W)` bool, where it fires, in the image's own size.
        boxes: of the mask's connected parts, the largest first.
        name: of the concept, or `direction 5`.
    """

    direction: int
    label: Label | None
    score: float
    mask: Tensor
    boxes: list[Box]
    name: str

    def __repr__(self) -> str:
        """In a line."""
        number = "" if self.name == f"direction {self.direction}" else f", direction {self.direction}"
        count = f"{len(self.boxes)} box{'es' if len(self.boxes) != 1 else ''}"
        iou = "" if self.label is None else f", IoU {self.label.iou:.3f}"
        where = f"{_share(self.mask)} of the image in {count}"
        return f"Detection({self.name}{number}{iou}, score {self.score:.3f}, {where})"


class Segmentation(NamedTuple):
    """One detector for each pixel: of those that fire there the farthest above its threshold.

    Attributes:
        directions: `(H, W)` int64, in the image's own size; -1 where none fires.
        names: of the directions that occur.
    """

    directions: Tensor
    names: dict[int, str]

    def shares(self) -> dict[str, float]:
        """Share of the image's pixels in [0, 1] of each name, the largest first; pixels of none are left out.

        Example:
            >>> import torch
            >>> directions = torch.tensor([[3, 3, 5, -1]])
            >>> Segmentation(directions, {3: "sky (object)", 5: "sky (object)"}).shares()
            {'sky (object)': 0.75}
        """
        found: dict[str, float] = {}
        for number, name in self.names.items():
            found[name] = found.get(name, 0.0) + float((self.directions == number).double().mean())
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def __repr__(self) -> str:
        """In a line, the largest parts."""
        parts = [f"{name} {_percent(share)}" for name, share in list(self.shares().items())[:_SHOWN]]
        more = [f"{len(self.shares()) - _SHOWN} more"] if len(self.shares()) > _SHOWN else []
        nothing = f"nothing {_share(self.directions < 0)}"
        return f"Segmentation({_size(self.directions)}: {', '.join([*parts, *more, nothing])})"


class TopImage(NamedTuple):
    """An image in which a detector responds strongly.

    Attributes:
        name: of the file, or the image's number.
        image: RGB.
        projection: highest in the image; the detector fires where it exceeds its threshold.
        mask: `(H, W)` bool, where it fires.
        direction: the detector's number.
    """

    name: str
    image: Image.Image
    projection: float
    mask: Tensor
    direction: int

    def __repr__(self) -> str:
        """In a line; where the detector does not fire, the image is no example of its concept."""
        fires = f"fires in {_share(self.mask)} of it" if self.mask.any() else "does not fire: no example"
        size = f"{_size(self.mask)}, direction {self.direction}"
        return f"TopImage({self.name}, {size}, projection {self.projection:.3f}, {fires})"


def _share(mask: Tensor) -> str:
    return _percent(float(mask.double().mean()))


def _percent(share: float) -> str:
    """What is small is told from nothing."""
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"


def _size(plane: Tensor) -> str:
    """As one says it: width first."""
    return f"{plane.shape[1]} x {plane.shape[0]}"


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
