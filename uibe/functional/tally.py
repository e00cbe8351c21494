"""Network Dissection's counts: how often a detector and a concept meet, as int64.

A tally is a sum over images, so batches, shards, processes and restarts combine by addition and the
result depends on none of them. IoU is computed from the finished counts only.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from uibe.functional.label_counts import LabelCounts
from uibe.functional.mask_counts import mask_counts
from uibe.functional.places import divided, places

__all__ = ["UNIONS", "ImageCounts", "Tally", "Union", "empty_tally", "image_counts", "iou", "tally_batch"]

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


class ImageCounts(NamedTuple):
    """Counts of n images for I detectors with a label each, int64.

    Attributes:
        intersections: `(n, I)` pixels where detector `i` fires and its own concept is present.
        activated: `(n, I)` pixels where detector `i` fires, if the image counts for its concept's category.
        labelled: `(n, C)` pixels that carry concept `c`.
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
        ValueError: if the union rule is unknown, the numbers of maps and labels differ, or a map has NaN.

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
    _check(maps, labels, union)
    tally.labelled.index_add_(0, labels.concepts.flatten(), labels.total().flatten())
    for masks in _masks(maps, thresholds, labels):
        concepts = labels.concepts.index_select(0, masks.image)
        place = masks.detector[:, None] * len(categories) + concepts
        tally.intersections.view(-1).index_add_(0, place.flatten(), masks.counts[:, 1:].flatten())
        counted = _counted(masks, labels, categories, tally.activated.shape[1], union)
        tally.activated.index_add_(0, masks.detector, masks.counts[:, :1] * counted)


def image_counts(
    maps: Tensor,
    thresholds: Tensor,
    labels: LabelCounts,
    categories: Tensor,
    concepts: Tensor,
    union: Union = "annotated",
) -> ImageCounts:
    """What each image adds to the counts of labelled detectors; `tally_batch` sums the same over images.

    Args:
        maps: `(n, I, h, w)`.
        thresholds: `(I,)`.
        labels: of the `n` images.
        categories: `(C,)` int64, the category `k` of each concept.
        concepts: `(I,)` int64, each detector's label.
        union: rule for a detector's area.

    Raises:
        ValueError: as `tally_batch`.

    Example:
        >>> from types import SimpleNamespace
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 1], [0, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> from uibe.functional.label_counts import label_counts
        >>> [labels] = label_counts([sky])
        >>> maps, first = torch.tensor([[[[3.0, 0.0], [2.0, 0.0]]]]), torch.tensor([0])
        >>> [c.tolist() for c in image_counts(maps, torch.tensor([1.0]), labels, first, first)]
        [[[1]], [[2]], [[2]]]
    """
    _check(maps, labels, union)
    shape = (len(maps), len(thresholds))
    intersections, activated = torch.zeros((2, *shape), dtype=torch.int64, device=maps.device)
    owner = categories[concepts]
    num_categories = labels.annotated.shape[1]
    for masks in _masks(maps, thresholds, labels):
        own = labels.concepts.index_select(0, masks.image) == concepts[masks.detector][:, None]
        counted = _counted(masks, labels, categories, num_categories, union)
        counted = counted.gather(1, owner[masks.detector][:, None])[:, 0]
        # of the entries that repeat concept 0 all counts but the first are 0
        intersections[masks.image, masks.detector] = (masks.counts[:, 1:] * own).sum(1)
        activated[masks.image, masks.detector] = masks.counts[:, 0] * counted
    labelled = torch.zeros(len(maps), len(categories), dtype=torch.int64, device=maps.device)
    labelled.scatter_add_(1, labels.concepts, labels.total())
    return ImageCounts(intersections, activated, labelled)


class _Masks(NamedTuple):
    """Counts `(A, 1 + L)` of masks, see `mask_counts`, each of one image and detector, `(A,)`."""

    counts: Tensor
    image: Tensor
    detector: Tensor


def _masks(maps: Tensor, thresholds: Tensor, labels: LabelCounts) -> Iterator[_Masks]:
    """The masks that are not empty, some at a time."""
    pixels = maps.flatten(2).contiguous()
    highest = pixels.amax(2)
    if bool(highest.isnan().any()):  # it would exceed no threshold, as if the detector were silent
        raise ValueError("expected finite projections to count masks of, got NaN")
    active = places(highest > thresholds)
    for part in torch.split(active, _MAPS) if len(active) else ():
        image, detector = divided(part, len(thresholds))
        chosen = pixels.flatten(0, 1).index_select(0, part).view(-1, *maps.shape[2:])
        yield _Masks(
            mask_counts(chosen, thresholds.index_select(0, detector), image, labels), image, detector
        )


def _counted(
    masks: _Masks, labels: LabelCounts, categories: Tensor, num_categories: int, union: Union
) -> Tensor:
    """Whether a mask's area counts for each category, `(A, K)` int64, 0 or 1."""
    if union == "annotated":
        return labels.annotated.index_select(0, masks.image).long()
    counts = masks.counts
    met = torch.zeros(len(counts), num_categories, dtype=torch.int64, device=counts.device)
    owner = categories[labels.concepts.index_select(0, masks.image)]
    return met.scatter_add_(1, owner, counts[:, 1:]).clamp_(max=1)


def _check(maps: Tensor, labels: LabelCounts, union: Union) -> None:
    if union not in UNIONS:
        raise ValueError(f"expected union to be one of {', '.join(UNIONS)}, got {union!r}")
    if len(maps) != len(labels.images):
        raise ValueError(f"expected labels for {len(maps)} images, got {len(labels.images)}")


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
