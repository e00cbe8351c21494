"""Labels under the masks of upsampled maps, without upsampling them: only where a mask begins and ends.

Down a pixel column a bilinearly upsampled map is linear between two source rows, so that its mask changes at
most once there, at a height that follows from the two values. The label table turns each such height into
counts. Cells of source pixels whose corners agree have no change and are not looked into.

Rounding can decide differently here than in `upsample` only where a value comes close to the threshold. A
bound on the rounding of both tells where that may be, and those maps are counted from their upsampled masks.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from uibe.functional.bilinear import ROUNDING, Columns, columns, rows, upsample
from uibe.functional.label_counts import LabelCounts

__all__ = ["mask_counts"]

_DENSE = 64  # maps to upsample at once
_RANGE = 2.0**60  # magnitudes whose products with weights, and sums, keep their precision in float32
_BELOW = 2.0**100  # so far that the mask ends where the rows do


class _Cells(NamedTuple):
    """Cells between four source pixels, in the order of the maps.

    Attributes:
        map: `(M,)` int64.
        row: `(M,)` int64, the upper source row.
        gap: `(M,)` int64, of the columns.
        starts: `(A,)` int64, the first cell of each map.
    """

    map: Tensor
    row: Tensor
    gap: Tensor
    starts: Tensor


def mask_counts(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    """Pixels of each mask `upsample(maps) > thresholds`, in all and by concept.

    Args:
        maps: `(A, h, w)`.
        thresholds: `(A,)`.
        images: `(A,)` int64, the image of each map, a position in `labels`.
        labels: of the images.

    Returns:
        `(A, 1 + L)` int64: pixels of the mask, and those that carry concept `l` of the map's image.
    """
    if maps.dtype != torch.float32 or labels.size[0] * labels.size[1] < 4 * maps[0].numel():
        counts = _dense_counts(maps, thresholds, images, labels)
    else:
        counts, unsure = _sparse_counts(maps, thresholds, images, labels)
        again = unsure.nonzero()[:, 0]  # type: ignore[no-untyped-call]
        counts[again] = _dense_counts(maps[again], thresholds[again], images[again], labels)
    everywhere = labels.everywhere[images]
    counts[:, 1:] = torch.where(everywhere, counts[:, :1], counts[:, 1:])
    return counts


def _lookup(labels: LabelCounts, places: Tensor, signs: Tensor, starts: Tensor) -> Tensor:
    """Signed sums of rows of the label table, `(A, 1 + L)` int64, those of map `a` from `starts[a]` on."""
    table = labels.table.flatten(0, 2)
    return F.embedding_bag(places, table, starts, mode="sum", per_sample_weights=signs.to(table.dtype)).long()


def _dense_counts(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    """From the upsampled masks."""
    parts = [part.split(_DENSE) for part in (maps, thresholds, images)]
    return torch.cat([_dense_part(*part, labels) for part in zip(*parts, strict=True)])


def _dense_part(maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts) -> Tensor:
    num, width = labels.table.shape[1:3]
    masks = upsample(maps, labels.size) > thresholds[:, None, None]
    ends = masks.clone()  # at the lower edge at the latest
    ends[:, :-1] ^= masks[:, 1:]
    which, y, x = ends.nonzero(as_tuple=True)
    starts = torch.searchsorted(which, torch.arange(len(maps), device=maps.device))
    signs = masks[which, y, x].float() * 2 - 1
    return _lookup(labels, ((y + 1) * num + images[which]) * width + x, signs, starts)


def _sparse_counts(
    maps: Tensor, thresholds: Tensor, images: Tensor, labels: LabelCounts
) -> tuple[Tensor, Tensor]:
    """From the ends of runs: counts, and `(A,)` bool, whether rounding could make a difference to them."""
    num, width = labels.table.shape[1:3]
    down = rows(maps.shape[1], labels.size[0], maps.device)
    across = columns(maps.shape[2], width, maps.device)
    above, error, unsure = _above(maps, thresholds, down.error)
    cells = _mixed_cells(above, error)
    top, bottom = _borders(above, cells, across)
    limit = error.index_select(0, cells.map)
    ends = (torch.maximum(top, bottom) > -limit[:, None]) & (torch.minimum(top, bottom) <= limit[:, None])
    cell, pixel = ends.nonzero(as_tuple=True)
    place = cell * top.shape[1] + pixel
    start, end = top.flatten().index_select(0, place), bottom.flatten().index_select(0, place)
    fall, limit = start - end, limit.index_select(0, cell)
    share = (start / fall).nan_to_num(0.0).clamp(0, 1)
    height = share * down.scale - down.shift.index_select(0, cells.row).index_select(0, cell)
    room = (height - height.round()).abs() - down.slack
    close = (room * fall.abs() <= limit * down.scale) | (torch.minimum(start.abs(), end.abs()) < limit)
    unsure[cells.map[cell[close]]] = True
    first = (down.first[cells.row] * num + images[cells.map]) * width + across.first[cells.gap]
    places = height.ceil().long() * (num * width) + first.index_select(0, cell) + pixel
    starts = torch.searchsorted(cell, cells.starts)
    return _lookup(labels, places, fall.sign(), starts), unsure


def _above(maps: Tensor, thresholds: Tensor, position_error: float) -> tuple[Tensor, Tensor, Tensor]:
    bound = maps.abs().flatten(1).amax(1) + thresholds.abs()
    unsure = ~((bound > 1 / _RANGE) & (bound < _RANGE))
    error = (16 * ROUNDING + 2 * position_error) * bound
    plain = (maps.masked_fill(maps == 0, 1.0).flatten(1).amin(1) > 1 / _RANGE) & (thresholds == 0)
    error = error.masked_fill(plain | unsure, 0.0)
    above = (maps - thresholds[:, None, None]).masked_fill(unsure[:, None, None], -1.0)
    return F.pad(F.pad(above, (1, 1), mode="replicate"), (0, 0, 0, 1), value=-_BELOW), error, unsure


def _mixed_cells(above: Tensor, error: Tensor) -> _Cells:
    """Cells in which a mask may begin or end, of those between the rows of `above` and the gaps of columns."""
    high = torch.maximum(above[:, :-1], above[:, 1:])
    high = torch.maximum(high[..., :-1], high[..., 1:])
    low = torch.minimum(above[:, :-1], above[:, 1:])
    low = torch.minimum(low[..., :-1], low[..., 1:])
    limit = error[:, None, None]
    which, row, gap = ((high > -limit) & (low <= limit)).nonzero(as_tuple=True)
    starts = torch.searchsorted(which, torch.arange(len(above), device=above.device))
    return _Cells(which, row, gap, starts)


def _borders(above: Tensor, cells: _Cells, across: Columns) -> tuple[Tensor, Tensor]:
    """Values along the upper and the lower border of each cell, at the centres of the pixel columns."""
    left_weight, right_weight = (
        each.index_select(0, cells.gap) for each in (across.left_weight, across.right_weight)
    )
    height, width = above.shape[1:]
    corner = (cells.map * height + cells.row) * width + cells.gap

    def along(corner: Tensor) -> Tensor:
        left, right = (above.flatten().index_select(0, at) for at in (corner, corner + 1))
        return torch.addcmul(left[:, None] * left_weight, right[:, None], right_weight)

    return along(corner), along(corner + width)
