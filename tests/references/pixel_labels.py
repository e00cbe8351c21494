"""Labels at the layer's resolution by loops over cells, mask pixels and planes, in exact fractions."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["carried"]


def _overlap(cell: int, cells: int, pixel: int, length: int) -> Fraction:
    """Length that a mask pixel has in a cell, where the mask's pixels have length 1."""
    size = Fraction(length, cells)
    return max(Fraction(0), min((cell + 1) * size, Fraction(pixel + 1)) - max(cell * size, Fraction(pixel)))


def carried(
    planes: npt.NDArray[Any], image_wide: Sequence[int], size: tuple[int, int], num_concepts: int
) -> npt.NDArray[np.bool_]:
    """`(h * w, C)`: whether a concept covers at least half of the cell's area, in any of the planes."""
    height, width = planes.shape[1:]
    found = np.zeros((*size, num_concepts), dtype=bool)
    for y, x, concept in np.ndindex(*size, num_concepts):
        area = Fraction(0)
        for row, column in np.ndindex(height, width):
            if any(int(plane[row, column]) == concept + 1 for plane in planes):
                area += _overlap(y, size[0], row, height) * _overlap(x, size[1], column, width)
        half = Fraction(height * width, 2 * size[0] * size[1])
        found[y, x, concept] = concept in image_wide or area >= half
    return found.reshape(-1, num_concepts)
