"""Labels under the masks of upsampled maps, without upsampling them: only where a mask begins and ends.

Down a pixel column a bilinearly upsampled map is linear between two source rows, so that its mask changes at
most once there, at a height that follows from the two values. The label table turns each such height into
counts. Cells of source pixels whose corners agree have no change and are not looked into.

Rounding decides differently here than in `upsample` only where a value comes close to the threshold. A
bound on the rounding of both tells where that may be, and those maps are counted from their upsampled masks.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from uibe.functional.bilinear import ROUNDING, Columns, Rows, columns, rows, upsample
from uibe.functional.label_counts import LabelCounts
from uibe.functional.places import divided, places

__all__ = ["mask_counts"]

_DENSE = 64  # maps to upsample at once
_RANGE = 2.0**40  # magnitudes whose products with weights stay among the normal numbers of float32
_BELOW = 2.0**100  # so far below the threshold that a mask ends where the rows do

# Let m be the largest magnitude of a map, t that of its threshold, u the rounding of one operation. Values
# are in units of m + t here, which changes no sign. `upsample` rounds at most 5 times along each path from a
# source pixel, and its two weights of a row sum to 1 within u / 2: 5.5 u m. Here the threshold is subtracted
# before the columns are weighted, u (m + t) + u (m + t) + t u / 2, and a weighted sum of two rounds twice,
# 2 u (m + t). Together less than 10 u (m + t). That `upsample` rounds the heights of pixels too makes a
# difference only between a pixel's true height and that one, which `Rows.slack` covers.
_LIMIT = 12 * ROUNDING


class _Cells(NamedTuple):
    """Cells between four source pixels in which a mask may begin or end, in the order of the maps.

    Attributes:
        map: `(M,)` int64.
        row: `(M,)` int64, the upper source row.
        gap: `(M,)` int64, of the columns.
        corner: `(M,)` int64, place of the upper left corner in the padded maps.
        starts: `(A,)` int64, the first cell of each map.
    """

    map: Tensor
    row: Tensor
    gap: Tensor
    corner: Tensor
    starts: Tensor


class _Ends(NamedTuple):
    """Pixel columns of cells in which a mask begins or ends, or rounding could make it do so.

    Attributes:
        cell: `(n,)` int64.
        pixel: `(n,)` int64, counted from the cell's first column.
        top: `(n,)` float32, the value at the upper border of the cell, less the threshold.
        bottom: `(n,)` float32, at the lower border.
    """

    cell: Tensor
    pixel: Tensor
    top: Tensor
    bottom: Tensor


def mask_counts(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    """Pixels of each mask `upsample(maps) > thresholds`, in all and by concept.

    Args:
        maps: `(A, h, w)`, at least one.
        thresholds: `(A,)`.
        images: `(A,)` int64, the image of each map, a position in `labels`.
        labels: of the images.

    Returns:
        `(A, 1 + L)` int64: pixels of the mask, and those that carry concept `l` of the map's image.

    Example:
        >>> from types import SimpleNamespace
        >>> from uibe.functional.label_counts import label_counts
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 1, 1, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> maps = torch.tensor([[[0.0, 4.0]]])  # upsampled: 0, 1, 3, 4
        >>> mask_counts(maps, torch.tensor([0.5]), torch.tensor([0]), *label_counts([sky]))
        tensor([[3, 2]])
    """
    height, width = labels.size
    narrow = maps.dtype == thresholds.dtype == torch.float32
    if not narrow or height * width < 4 * maps[0].numel():
        counts = _dense_counts(maps, thresholds, images, labels)
    else:
        counts, unsure = _sparse_counts(maps, thresholds, images, labels)
        again = places(unsure)
        if len(again):
            counts[again] = _dense_counts(maps[again], thresholds[again], images[again], labels)
    everywhere = labels.everywhere.index_select(0, images)
    counts[:, 1:] = torch.where(everywhere, counts[:, :1], counts[:, 1:])
    return counts


def _lookup(labels: LabelCounts, entries: Tensor, signs: Tensor, starts: Tensor) -> Tensor:
    """Signed sums of rows of the label table, `(A, 1 + L)` int64, those of map `a` from `starts[a]` on."""
    table = labels.table.flatten(0, 2)
    return F.embedding_bag(
        entries, table, starts, mode="sum", per_sample_weights=signs.to(table.dtype)
    ).long()


def _dense_counts(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    """From the upsampled masks."""
    starts = range(0, len(maps), _DENSE)
    parts = [slice(start, start + _DENSE) for start in starts]
    return torch.cat([_dense_part(maps[part], thresholds[part], images[part], labels) for part in parts])


def _dense_part(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    num, (height, width) = len(labels.images), labels.size
    masks = upsample(maps, labels.size) > thresholds[:, None, None]
    ends = masks.clone()  # at the lower edge at the latest
    ends[:, :-1] ^= masks[:, 1:]
    place = places(ends)
    line, x = divided(place, width)
    which, y = divided(line, height)
    starts = torch.searchsorted(which, torch.arange(len(maps), device=maps.device))
    signs = masks.flatten().index_select(0, place).float() * 2 - 1
    return _lookup(labels, ((y + 1) * num + images[which]) * width + x, signs, starts)


def _sparse_counts(
    maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts
) -> tuple[Tensor, Tensor]:
    """From the ends of runs: counts, and `(A,)` bool, whether rounding could make a difference to them."""
    num, (height, width) = len(labels.images), labels.size
    down = rows(maps.shape[1], height, maps.device)
    across = columns(maps.shape[2], width, maps.device)
    above, unsure = _above(maps, thresholds)
    cells = _mixed_cells(above)
    ends = _ends(above, cells, across)
    y, close = _heights(ends, down.shift.index_select(0, cells.row), down)
    unsure[cells.map[ends.cell[close]]] = True
    first = down.first.index_select(0, cells.row) * num + images.index_select(0, cells.map)
    first = first * width + across.first.index_select(0, cells.gap)
    entries = y.mul_(num * width).add_(first.index_select(0, ends.cell)).add_(ends.pixel)
    starts = torch.searchsorted(ends.cell, cells.starts)
    return _lookup(labels, entries, (ends.top - ends.bottom).sign_(), starts), unsure


def _above(maps: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """What lies above the thresholds, padded, `(A, h + 1, w + 2)`, and `(A,)` bool, where that overflows."""
    bound = maps.abs().flatten(1).amax(1) + thresholds.abs()
    unsure = ~((bound > 1 / _RANGE) & (bound < _RANGE))
    scale = bound.reciprocal()
    above = torch.addcmul((-thresholds * scale)[:, None, None], maps, scale[:, None, None])
    # After a ReLU and at 0 values are often at the threshold, exactly, and a mask holds whatever has a
    # positive source pixel: two values so far apart that no rounding can hide the larger one say the same.
    zero = places(thresholds == 0)
    signs = maps.index_select(0, zero)
    plain = places(((signs == 0) | (signs > 1 / _RANGE)).flatten(1).all(1))
    above[zero[plain]] = (signs[plain] > 0) * (_RANGE + 1) - 1
    above[places(unsure)] = -1.0
    return F.pad(F.pad(above, (1, 1), mode="replicate"), (0, 0, 0, 1), value=-_BELOW), unsure


def _mixed_cells(above: Tensor) -> _Cells:
    """Cells whose corners are not all above the threshold or all below it, for sure."""
    some, every = above > -_LIMIT, above > _LIMIT
    some, every = some[:, 1:] | some[:, :-1], every[:, 1:] & every[:, :-1]
    mixed = (some[..., 1:] | some[..., :-1]) & ~(every[..., 1:] & every[..., :-1])
    height, width = mixed.shape[1:]
    place = places(mixed)
    line, gap = divided(place, width)
    which, row = divided(line, height)
    return _Cells(
        map=which,
        row=row,
        gap=gap,
        corner=line + which * (width + 1) + place,
        starts=torch.searchsorted(which, torch.arange(len(above), device=above.device)),
    )


def _ends(above: Tensor, cells: _Cells, across: Columns) -> _Ends:
    """The pixel columns of the cells in which the upper and the lower border do not agree, for sure."""
    left, right = (each.index_select(0, cells.gap) for each in (across.left_weight, across.right_weight))

    def border(corner: Tensor) -> Tensor:
        first, last = (above.flatten().index_select(0, at) for at in (corner, corner + 1))
        return torch.addcmul(first[:, None] * left, last[:, None], right)

    top, bottom = border(cells.corner), border(cells.corner + above.shape[2])
    # comparisons in place vectorize; none holds for the NaN of columns that are not there
    found = torch.maximum(top, bottom).gt_(-_LIMIT).mul_(torch.minimum(top, bottom).le_(_LIMIT))
    place = places(found)
    cell, pixel = divided(place, top.shape[1])
    values = (each.flatten().index_select(0, place) for each in (top, bottom))
    return _Ends(cell, pixel, *values)


def _heights(ends: _Ends, shift: Tensor, down: Rows) -> tuple[Tensor, Tensor]:
    """Pixel rows of a cell above each end, `(n,)` int64, and the ends whose row or being is not sure."""
    fall = ends.top - ends.bottom
    # where both values are close to the threshold and alike there is no end, which is found out below
    share = (ends.top / fall).nan_to_num_(0.0).clamp_(0, 1)
    height = share.mul_(down.scale).sub_(shift.index_select(0, ends.cell))
    # the nearest pixel of the column has a value as far from the threshold as its distance times the slope
    nearest = (height - height.round()).abs_().sub_(down.slack).mul_(1 / down.scale).mul_(fall.abs_())
    nearest = torch.minimum(nearest, torch.minimum(ends.top.abs(), ends.bottom.abs()))
    return height.ceil_().long(), places(nearest.le_(_LIMIT))
