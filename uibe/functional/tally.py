"""Network Dissection's counts: how often a detector and a concept meet, as int64.

A tally is a sum over images, so batches, shards, processes and restarts combine by addition and the
result depends on none of them. IoU is computed from the finished counts only.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from uibe.functional.label_counts import LabelCounts
from uibe.functional.mask_counts import mask_counts
from uibe.functional.places import divided, places

__all__ = ["UNIONS", "Tally", "Union", "empty_tally", "iou", "tally_batch"]

Union = Literal["annotated", "netdissect-lite"]
UNIONS: tuple[Union, ...] = get_args(Union)

_MAPS = 2048  # maps to count at once, so that what lies between stays in the processor's cache


class Tally(NamedTuple):
    """Counts of pixels, int64; add two of them field by field.

    Attributes:
        intersections: `(I, C)` pixels where detector `i` fires and concept `c` is present.
        activated: `(I, K)` pixels where detector `i` fires, over the images that count for category `k`.
        labelled: `(C,)` pixels that carry concept `c`.
    """

    intersections: Tensor
    activated: Tensor
    labelled: Tensor


def empty_tally(detectors: int, concepts: int, categories: int, device: torch.device | str = "cpu") -> Tally:
    """A tally of no images.

    Example:
        >>> [tuple(counts.shape) for counts in empty_tally(4, 3, 2)]
        [(4, 3), (4, 2), (3,)]
    """
    shapes = ((detectors, concepts), (detectors, categories), (concepts,))
    return Tally(*(torch.zeros(shape, dtype=torch.int64, device=device) for shape in shapes))


def tally_batch(
    tally: Tally,
    maps: Tensor,
    thresholds: Tensor,
    labels: LabelCounts,
    categories: Tensor,
    union: Union = "annotated",
) -> None:
    """Add a batch of images to a tally, in place.

    The mask of detector `i` is `upsample(maps)[i] > thresholds[i]`, strict (method.md section 3). Maps
    whose maximum stays at or below the threshold cannot fire after bilinear upsampling and are left out.

    Args:
        tally: counts so far; changed.
        maps: `(n, I, h, w)` projections of the images' features.
        thresholds: `(I,)`.
        labels: of the `n` images.
        categories: `(C,)` int64, the category `k` of each concept.
        union: `annotated` counts a detector's area in the images where the category is annotated;
            `netdissect-lite` only in those where the mask itself meets a label of the category.

    Raises:
        ValueError: if the union rule is unknown or the numbers of maps and labels differ.

    Example:
        >>> from types import SimpleNamespace
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 1], [0, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> from uibe.functional.label_counts import label_counts
        >>> [labels] = label_counts([sky])
        >>> counts = empty_tally(detectors=1, concepts=1, categories=1)
        >>> maps = torch.tensor([[[[3.0, 0.0], [2.0, 0.0]]]])
        >>> tally_batch(counts, maps, torch.tensor([1.0]), labels, torch.tensor([0]))
        >>> [c.tolist() for c in counts], iou(counts, torch.tensor([0])).tolist()
        ([[[1]], [[2]], [2]], [[0.3333333333333333]])
    """
    if union not in UNIONS:
        raise ValueError(f"expected union to be one of {', '.join(UNIONS)}, got {union!r}")
    if len(maps) != len(labels.images):
        raise ValueError(f"expected labels for {len(maps)} images, got {len(labels.images)}")
    tally.labelled.index_add_(0, labels.concepts.flatten(), labels.total().flatten())
    pixels = maps.flatten(2).contiguous()
    active = places(pixels.amax(2) > thresholds)
    for part in torch.split(active, _MAPS) if len(active) else ():
        image, detector = divided(part, len(thresholds))
        chosen = pixels.flatten(0, 1).index_select(0, part).view(-1, *maps.shape[2:])
        counts = mask_counts(chosen, thresholds.index_select(0, detector), image, labels)
        _add(tally, counts, image, detector, labels, categories, union)


def _add(
    tally: Tally,
    counts: Tensor,
    image: Tensor,
    detector: Tensor,
    labels: LabelCounts,
    categories: Tensor,
    union: Union,
) -> None:
    """Add counts `(A, 1 + L)` of maps, each of one image and detector."""
    concepts = labels.concepts.index_select(0, image)
    place = detector[:, None] * len(categories) + concepts
    tally.intersections.view(-1).index_add_(0, place.flatten(), counts[:, 1:].flatten())
    if union == "annotated":
        counted = labels.annotated.index_select(0, image).long()
    else:
        counted = torch.zeros(len(counts), tally.activated.shape[1], dtype=torch.int64, device=counts.device)
        counted.scatter_add_(1, categories[concepts], counts[:, 1:]).clamp_(max=1)
    tally.activated.index_add_(0, detector, counts[:, :1] * counted)


def iou(tally: Tally, categories: Tensor) -> Tensor:
    """IoU pooled over all images, `inter / (act + label - inter)` (method.md section 3).

    Args:
        tally: counts.
        categories: `(C,)` int64, the category `k` of each concept.

    Returns:
        `(I, C)` float64 in [0, 1]; 0 where the union is empty.
    """
    union = tally.activated[:, categories] + tally.labelled - tally.intersections
    return torch.where(union > 0, tally.intersections.double() / union.clamp(min=1), 0.0)
