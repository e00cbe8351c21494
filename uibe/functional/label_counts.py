"""How many pixels of each concept lie above any height of any pixel column: a table to count masks with.

A mask meets a pixel column in runs from one height to another. With the table of an image the labels under
such a run are one subtraction, whatever the run's length, so that counting never looks at the mask's pixels.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ["LabelCounts", "Labels", "label_counts", "table_scratch"]

_MEMORY = 16 * 2**20  # bytes of a table beyond which a batch is divided: about what a processor caches
_EXACT = 2**24  # up to here float32 holds every whole number
_WHOLE = (torch.uint8, torch.int16, torch.int32)  # to sum in, as narrow as the height allows


class Labels(Protocol):
    """Labels of one image.

    Attributes:
        planes: `(planes, sh, sw)` integer, 0 = unlabelled, `c + 1` = the pixel carries concept `c`.
        image_wide: `(L,)` int64, concepts that the whole image carries.
        annotated: `(K,)` bool, whether category `k` is annotated in this image at all.
        concepts: `(L,)` int64, ascending, all concepts of the planes and of the image as a whole.
    """

    @property
    def planes(self) -> Tensor: ...  # noqa: D102 - described above
    @property
    def image_wide(self) -> Tensor: ...  # noqa: D102
    @property
    def annotated(self) -> Tensor: ...  # noqa: D102
    @property
    def concepts(self) -> Tensor: ...  # noqa: D102


class LabelCounts(NamedTuple):
    """The labels of n images of a batch whose masks have one size, laid out for counting.

    Attributes:
        images: `(n,)` int64, positions of these images in the batch.
        concepts: `(n, L)` int64, the concepts present; images that carry fewer repeat 0, with counts of 0.
        table: `(sh + 1, n, sw, 1 + L)`: the number of pixels of image `n`, among the first `y` of pixel
            column `x`, at all (entry 0) and that carry its concept `l` (entry `1 + l`). Whole numbers.
        everywhere: `(n, L)` bool, the concepts that the whole image carries; the table need not hold them.
        annotated: `(n, K)` bool.
    """

    images: Tensor
    concepts: Tensor
    table: Tensor
    everywhere: Tensor
    annotated: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """`(sh, sw)` of the masks."""
        return self.table.shape[0] - 1, self.table.shape[2]

    def total(self) -> Tensor:
        """`(n, L)` int64, pixels of each concept."""
        counts = self.table[-1].sum(1).long()
        return torch.where(self.everywhere, counts[:, :1], counts[:, 1:])


def label_counts(labels: Sequence[Labels], scratch: Tensor | None = None) -> Iterator[LabelCounts]:
    """Lay out the labels of a batch; worth sharing between several sets of detectors.

    A pixel carries a concept or does not, however many planes say so.

    Args:
        labels: of the images of a batch.
        scratch: bytes to lay out all tables in, from `table_scratch`; each is lost when the next is drawn.

    Yields:
        Tables that hold every image once, each of images with one size of mask, and of several only as far
        as the memory reaches.

    Example:
        >>> from types import SimpleNamespace
        >>> planes, wide = torch.tensor([[[2, 0]], [[2, 5]]]), torch.tensor([7])
        >>> labels = SimpleNamespace(planes=planes, image_wide=wide, annotated=torch.tensor([True]),
        ...                          concepts=torch.tensor([1, 4, 7]))
        >>> [counts] = label_counts([labels])
        >>> counts.concepts.tolist(), counts.total().tolist()
        ([[1, 4, 7]], [[1, 1, 2]])
    """
    for group in _groups(labels, _MEMORY if scratch is None else scratch.nbytes):
        yield _layout(group, [labels[image] for image in group], scratch)


def table_scratch(device: torch.device | str = "cpu") -> Tensor:
    """Memory for the tables of one pass: to take it from the system for each costs as much as to fill it."""
    return torch.empty(_MEMORY, dtype=torch.uint8, device=device)


def _groups(labels: Sequence[Labels], memory: int) -> Iterator[list[int]]:
    """Positions of images with planes of one shape, whose table keeps to the memory."""
    shapes: dict[torch.Size, list[int]] = {}
    for image, each in enumerate(labels):
        shapes.setdefault(each.planes.shape, []).append(image)
    for (_, height, width), images in shapes.items():
        entries = 1 + max(len(labels[image].concepts) for image in images)
        table = (height + 1) * width * entries * _dtype(height, width).itemsize
        step = max(1, memory // table)
        yield from (images[start : start + step] for start in range(0, len(images), step))


def _dtype(height: int, width: int) -> torch.dtype:
    """A type that sums lookups exactly in any order: at most `sh` a pixel column, each up to `sh`."""
    return torch.float32 if height * height * width <= _EXACT else torch.float64


def _layout(images: list[int], labels: Sequence[Labels], scratch: Tensor | None) -> LabelCounts:
    """The table of images with planes of one shape."""
    planes = torch.stack([each.planes for each in labels])
    concepts = pad_sequence([each.concepts for each in labels], batch_first=True, padding_value=-1)
    wide = [torch.isin(concepts[image], each.image_wide) for image, each in enumerate(labels)]
    return LabelCounts(
        images=torch.tensor(images, device=planes.device),
        concepts=concepts.clamp(min=0),
        table=_table(_entries(planes, concepts), concepts.shape[1] + 1, scratch),
        everywhere=torch.stack(wide),
        annotated=torch.stack([each.annotated for each in labels]),
    )


def _entries(planes: Tensor, concepts: Tensor) -> Tensor:
    """The entry `1 + l` of each pixel, 0 where it is unlabelled, `(sh, n, planes, sw)`."""
    num_codes = int(concepts.max()) + 2 if concepts.numel() else 1
    entry = torch.zeros(len(planes), num_codes, dtype=torch.int64, device=planes.device)
    entry.scatter_(
        1, concepts + 1, torch.arange(1, concepts.shape[1] + 1, device=planes.device).expand_as(concepts)
    )
    entry[:, 0] = 0  # where the missing concepts of images that carry fewer went
    first = torch.arange(0, entry.numel(), num_codes, device=planes.device)[:, None, None]
    # rearranged while the numbers are narrow
    codes = planes.permute(2, 0, 1, 3).contiguous().long() + first
    return entry.flatten().index_select(0, codes.flatten()).view(codes.shape)


def _table(entries: Tensor, size: int, scratch: Tensor | None) -> Tensor:
    """Running counts over the heights, from the entry of each pixel in each plane."""
    height, num, _, width = entries.shape
    narrow = next(dtype for dtype in _WHOLE if height <= torch.iinfo(dtype).max)
    counts = torch.zeros(height + 1, num, width * size, dtype=narrow, device=entries.device)
    place = entries + torch.arange(0, width * size, size, device=entries.device)
    counts[1:].scatter_(2, place.flatten(2), 1)
    # `cumsum` does not vectorize along the first dimension
    for above, row in pairwise(counts):
        row += above
    table = _empty((height + 1, num, width, size), _dtype(height, width), entries.device, scratch)
    table.copy_(counts.view(table.shape))
    table[..., 0] = torch.arange(height + 1, device=entries.device)[:, None, None]
    return table


def _empty(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, scratch: Tensor | None
) -> Tensor:
    """A tensor, in the scratch memory if it fits."""
    size = math.prod(shape) * dtype.itemsize
    if scratch is None or size > scratch.nbytes:
        return torch.empty(shape, dtype=dtype, device=device)
    return scratch[:size].view(dtype).view(shape)
