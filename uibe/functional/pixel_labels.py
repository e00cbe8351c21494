"""Labels at a layer's resolution: which concepts a feature pixel carries, and which it is known not to."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.functional.label_counts import Labels

__all__ = ["annotated_concepts", "pixel_labels", "pixel_signs"]


def pixel_labels(labels: Labels, size: tuple[int, int], num_concepts: int) -> Tensor:
    """Which concepts the feature pixels of one image carry.

    A feature pixel stands for its cell of the mask, the rectangle that bilinear upsampling with
    `align_corners=False` centres on it. It carries a concept that covers at least half of the cell's area;
    the planes are joined first, so that a concept may be written in any of them, or in several by parts. A
    mask pixel that lies in two cells counts in each by its share, exactly, so that any size of mask will do.
    Image-wide concepts hold at every pixel.

    Args:
        labels: of the image.
        size: `(h, w)` of the layer.
        num_concepts: C.

    Returns:
        `(h * w, C)` bool.

    Example:
        >>> from types import SimpleNamespace
        >>> image = SimpleNamespace(planes=torch.tensor([[[1, 0, 1], [1, 0, 0]]]),
        ...                         concepts=torch.tensor([0, 2]), image_wide=torch.tensor([2]))
        >>> pixel_labels(image, (1, 2), num_concepts=3).long().tolist()
        [[1, 0, 1], [0, 0, 1]]
    """
    carried = torch.zeros(num_concepts, size[0] * size[1], dtype=torch.bool, device=labels.planes.device)
    carried[labels.concepts] = _half_covered(labels.planes, labels.concepts + 1, size).flatten(1)
    carried[labels.image_wide] = True
    return carried.T


def annotated_concepts(labels: Labels, categories: Tensor) -> Tensor:
    """Which concepts the image could have been labelled with, `(C,)` bool: those of an annotated category.

    Where a concept is not annotated a pixel is neither positive nor negative for it.

    Args:
        labels: of the image.
        categories: `(C,)` int64, the category of each concept.

    Example:
        >>> from types import SimpleNamespace
        >>> image = SimpleNamespace(annotated=torch.tensor([True, False]))
        >>> annotated_concepts(image, torch.tensor([1, 0, 0])).tolist()
        [False, True, True]
    """
    return labels.annotated[categories]


def pixel_signs(
    labels: Sequence[Labels], size: tuple[int, int], categories: Tensor, concepts: Tensor
) -> Tensor:
    """Positive, negative or neither: the feature pixels of several images for some concepts.

    Args:
        labels: of n images.
        size: `(h, w)` of the layer.
        categories: `(C,)` int64, the category of each concept.
        concepts: `(I,)` int64, of the concepts that are asked for; one may come several times.

    Returns:
        `(n * h * w, I)` int8: 1 where the pixel carries the concept, 0 where it does not, -1 where the
        concept's category is not annotated in the image.

    Example:
        >>> from types import SimpleNamespace
        >>> image = SimpleNamespace(planes=torch.tensor([[[1, 0]]]), concepts=torch.tensor([0]),
        ...                         image_wide=torch.zeros(0).long(), annotated=torch.tensor([True, False]))
        >>> pixel_signs([image], (1, 2), torch.tensor([0, 1]), torch.tensor([0, 1])).tolist()
        [[1, -1], [0, -1]]
    """
    signs = torch.empty(len(labels), size[0] * size[1], len(concepts), dtype=torch.int8)
    signs = signs.to(categories.device)
    for sign, each in zip(signs, labels, strict=True):
        sign.copy_(pixel_labels(each, size, len(categories))[:, concepts])
        sign[:, ~annotated_concepts(each, categories)[concepts]] = -1
    return signs.flatten(0, 1)


def _half_covered(planes: Tensor, codes: Tensor, size: tuple[int, int]) -> Tensor:
    """Whether each code covers at least half of each cell, `(L, h, w)` bool."""
    height, width = planes.shape[1:]
    present = (planes == codes[:, None, None, None]).any(1).double()  # whole numbers, sums are exact
    rows, columns = _overlaps(size[0], height), _overlaps(size[1], width)
    covered = rows.to(present) @ present @ columns.to(present).T
    return 2 * covered >= height * width


def _overlaps(cells: int, length: int) -> Tensor:
    """How much of each mask pixel lies in each cell, `(cells, length)`, in units of 1 / cells of a pixel."""
    cell, pixel = torch.arange(cells)[:, None] * length, torch.arange(length) * cells
    return (torch.minimum(cell + length, pixel + cells) - torch.maximum(cell, pixel)).clamp(min=0)
