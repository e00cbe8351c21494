"""Where bilinear upsampling puts the pixels of its target between those of its source."""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ROUNDING", "Columns", "Rows", "columns", "rows", "upsample"]

ROUNDING = 2.0**-24  # relative error of one operation in float32


class Rows(NamedTuple):
    """How rows of the target lie below each of the `h` source rows.

    The last entry has all of them above it: a mask ends at the lower edge of the target at the latest.

    Attributes:
        first: `(h,)` int64, the first target row at or below the source row.
        shift: `(h,)` float32, how far below, in target rows.
        scale: target rows from one source row to the next.
        slack: bound on the error of `share * scale - shift`, for a share in [0, 1], and of the place that
            `upsample` gives to a target row, both together, in target rows.
    """

    first: Tensor
    shift: Tensor
    scale: float
    slack: float


class Columns(NamedTuple):
    """The target columns between two source columns, at most R in each of the `w + 1` gaps, edges included.

    Attributes:
        first: `(w + 1,)` int64, the first target column of each gap.
        left_weight: `(w + 1, R)` float32, as `upsample` has it; NaN where a gap has fewer columns.
        right_weight: likewise.
    """

    first: Tensor
    left_weight: Tensor
    right_weight: Tensor


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of `(n, h, w)` maps to the segmentation's size (`align_corners=False`).

    Example:
        >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4)).tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]
    """
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


@lru_cache
def rows(size: int, target: int, device: torch.device) -> Rows:
    """Rows of a source of `size` rows upsampled to `target`.

    Example:
        >>> found = rows(2, 8, torch.device("cpu"))  # the source rows lie at 1.5 and 5.5
        >>> found.first.tolist(), found.shift.tolist(), found.scale
        ([2, 8], [0.5, 0.5], 4.0)
    """
    scale = target / size
    centre = (torch.arange(size, dtype=torch.float64) + 0.5) * scale - 0.5
    centre[-1] = target - 0.5
    source, weight = _sources(size, target, device)
    exact = ((torch.arange(target, dtype=torch.float64) + 0.5) / scale - 0.5).clamp(0, size - 1)
    error = float((source + weight - exact).abs().max())
    first, shift = centre.ceil().long().to(device), (centre.ceil() - centre).float().to(device)
    return Rows(first, shift, scale, scale * error + 8 * ROUNDING * (scale + 1))


@lru_cache
def columns(size: int, target: int, device: torch.device) -> Columns:
    """Columns of a source of `size` columns upsampled to `target`.

    Example:
        >>> found = columns(2, 4, torch.device("cpu"))
        >>> found.first.tolist(), found.right_weight.tolist()
        ([0, 1, 3], [[0.0, nan], [0.25, 0.75], [0.0, nan]])
    """
    source, weight = _sources(size, target, device)
    gap = source + 1
    gap[(source == 0) & (weight == 0)] = 0  # left of the first centre
    count = torch.bincount(gap, minlength=size + 1)
    first = count.cumsum(0) - count
    pixel = torch.arange(int(count.max()))
    right = weight[(first[:, None] + pixel).clamp(max=target - 1)].float()
    right[pixel >= count[:, None]] = torch.nan
    return Columns(first.to(device), (1 - right).to(device), right.to(device))


def _sources(size: int, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The first source pixel of each target pixel, and the weight of the next, which is 0 for the last.

    They are read off `upsample` itself, since its positions are rounded in its own way.
    """
    weights = upsample(torch.eye(size, device=device)[:, None], (1, target))[:, 0].cpu().double()
    source = (weights > 0).long().argmax(0)
    padded = torch.cat([weights, torch.zeros(1, target, dtype=torch.float64)])
    return source, padded.gather(0, source[None] + 1)[0]
