"""Network Dissection's counts: how often a detector and a concept meet, as int64.

A tally is a sum over images, so batches, shards, processes and restarts combine by addition and the
result depends on none of them. IoU is computed from the finished counts only.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "UNIONS",
    "CarriedConcepts",
    "Labels",
    "Tally",
    "Union",
    "carried_concepts",
    "empty_tally",
    "iou",
    "tally_batch",
    "tally_image",
    "upsample",
]

Union = Literal["annotated", "netdissect-lite"]
UNIONS: tuple[Union, ...] = get_args(Union)


class Labels(Protocol):
    """Labels of one image.

    Attributes:
        planes: `(planes, sh, sw)` integer, 0 = unlabelled, `c + 1` = the pixel carries concept `c`.
        image_wide: `(L,)` int64, concepts that the whole image carries.
        annotated: `(K,)` bool, whether category `k` is annotated in this image at all.
    """

    @property
    def planes(self) -> Tensor: ...  # noqa: D102 - described above
    @property
    def image_wide(self) -> Tensor: ...  # noqa: D102
    @property
    def annotated(self) -> Tensor: ...  # noqa: D102


class CarriedConcepts(NamedTuple):
    """Where one image carries which concept.

    Attributes:
        concepts: `(L,)` int64, the concepts present.
        pixels: `(L, sh * sw)` float32 of 0 and 1.
        annotated: `(K,)` bool.
        size: `(sh, sw)`.
    """

    concepts: Tensor
    pixels: Tensor
    annotated: Tensor
    size: tuple[int, int]


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


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of `(n, h, w)` maps to the segmentation's size (`align_corners=False`).

    Example:
        >>> upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4)).tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]
    """
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def carried_concepts(labels: Labels) -> CarriedConcepts:
    """Lay out an image's labels for counting; worth sharing between several sets of detectors.

    A pixel carries a concept or does not, however many planes say so.

    Example:
        >>> from types import SimpleNamespace
        >>> planes, annotated = torch.tensor([[[2, 0]], [[2, 5]]]), torch.tensor([True])
        >>> labels = SimpleNamespace(planes=planes, image_wide=torch.tensor([7]), annotated=annotated)
        >>> carried = carried_concepts(labels)
        >>> carried.concepts.tolist(), carried.pixels.tolist()
        ([1, 4, 7], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    """
    height, width = labels.planes.shape[-2:]
    codes = labels.planes.flatten(1).long()
    present = torch.bincount(codes.flatten(), minlength=1)
    present[0] = 0
    concepts = torch.cat([present.nonzero()[:, 0] - 1, labels.image_wide]).unique()  # type: ignore[no-untyped-call]
    row = torch.zeros(len(present), dtype=torch.int64, device=codes.device)  # 0 collects the unlabelled
    in_planes = concepts[concepts + 1 < len(present)]
    row[in_planes + 1] = torch.arange(1, len(in_planes) + 1, device=codes.device)
    pixels = torch.zeros(len(concepts) + 1, height * width, device=codes.device)
    pixels.scatter_(0, row[codes], 1.0)
    pixels[1:][torch.isin(concepts, labels.image_wide)] = 1.0
    return CarriedConcepts(concepts, pixels[1:], labels.annotated, (height, width))


def tally_image(
    tally: Tally,
    maps: Tensor,
    thresholds: Tensor,
    carried: CarriedConcepts,
    categories: Tensor,
    union: Union,
) -> None:
    """Add one image to a tally, in place.

    The mask of detector `i` is `upsample(maps)[i] > thresholds[i]`, strict (method.md section 3). Maps
    whose maximum stays at or below the threshold cannot fire after bilinear upsampling and are left out.

    Args:
        tally: counts so far; changed.
        maps: `(I, h, w)` projections of the image's features.
        thresholds: `(I,)`.
        carried: the image's labels.
        categories: `(C,)` int64, the category `k` of each concept.
        union: `annotated` counts a detector's area in the images where the category is annotated;
            `netdissect-lite` only in those where the mask itself meets a label of the category.
    """
    tally.labelled[carried.concepts] += carried.pixels.sum(1).long()
    active = (maps.flatten(1).amax(1) > thresholds).nonzero()[:, 0]
    masks = (upsample(maps[active], carried.size) > thresholds[active, None, None]).flatten(1).float()
    counts = torch.zeros(len(active), len(categories), dtype=torch.int64, device=maps.device)
    # float32 sums of 0 and 1 are exact below 2**24, the pixels of a 4096 x 4096 mask
    counts[:, carried.concepts] = (masks @ carried.pixels.T).long()
    tally.intersections.index_add_(0, active, counts)
    counted = _counted(counts, carried.annotated, categories, union)
    tally.activated.index_add_(0, active, masks.sum(1, keepdim=True).long() * counted)


def _counted(counts: Tensor, annotated: Tensor, categories: Tensor, union: Union) -> Tensor:
    """`(n, K)` int64: 1 where the image counts towards a detector's area for a category."""
    if union == "annotated":
        return annotated.long().expand(len(counts), -1)
    met = torch.zeros(len(counts), len(annotated), dtype=torch.int64, device=counts.device)
    return met.index_add_(1, categories, counts).clamp_(max=1)


def tally_batch(
    tally: Tally,
    maps: Tensor,
    thresholds: Tensor,
    labels: Sequence[CarriedConcepts],
    categories: Tensor,
    union: Union = "annotated",
) -> None:
    """Add a batch of images to a tally, in place.

    Args:
        tally: counts so far; changed.
        maps: `(N, I, h, w)` projections.
        thresholds: `(I,)`.
        labels: of the `N` images, from `carried_concepts`.
        categories: `(C,)` int64, the category `k` of each concept.
        union: the rule for a detector's area, see `tally_image`.

    Raises:
        ValueError: if the union rule is unknown or the numbers of maps and labels differ.

    Example:
        >>> from types import SimpleNamespace
        >>> none = torch.tensor([], dtype=torch.long)
        >>> plane = torch.tensor([[[1, 1], [0, 0]]])
        >>> sky = SimpleNamespace(planes=plane, image_wide=none, annotated=torch.tensor([True]))
        >>> counts = empty_tally(detectors=1, concepts=1, categories=1)
        >>> maps = torch.tensor([[[[3.0, 0.0], [2.0, 0.0]]]])
        >>> tally_batch(counts, maps, torch.tensor([1.0]), [carried_concepts(sky)], torch.tensor([0]))
        >>> [c.tolist() for c in counts], iou(counts, torch.tensor([0])).tolist()
        ([[[1]], [[2]], [2]], [[0.3333333333333333]])
    """
    if union not in UNIONS:
        raise ValueError(f"expected union to be one of {', '.join(UNIONS)}, got {union!r}")
    if len(maps) != len(labels):
        raise ValueError(f"expected labels for {len(maps)} images, got {len(labels)}")
    for image_maps, image_labels in zip(maps, labels, strict=True):
        tally_image(tally, image_maps, thresholds, image_labels, categories, union)


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
