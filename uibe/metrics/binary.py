"""Binary metrics of labelled detectors on validation pixels, under three readings of a basis."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from uibe.functional.binary import BinaryRates, average_precision, best_f1_threshold, binary_rates
from uibe.functional.detectors import Detectors, projection_maps
from uibe.functional.pixel_labels import pixel_signs
from uibe.metrics.tallies import Counts, LabelledFeatures

__all__ = ["READINGS", "BinaryMeans", "BinaryScores", "Reading", "binary_metrics", "segmentation_rates"]

Reading = Literal["individual", "linear-or", "supervised-thresholds"]
READINGS: tuple[Reading, ...] = get_args(Reading)

_MEMORY = 256 * 2**20  # bytes of scores and signs of all pixels of a split, for the classifiers of a chunk


class BinaryMeans(NamedTuple):
    """Means over the classifiers, as they are published, and what chance reaches; NaN of none.

    Attributes:
        mPrecision: as are the others, in [0, 1].
        mRecall: of the pixels that carry the concept.
        mAP: average precision; compare it with `chance`.
        chance: the mAP of scores drawn at random, for the same labels: the mean prevalence.
        mF1: harmonic mean of precision and recall.
        mIoU: at the layer's resolution.
    """

    mPrecision: float  # noqa: N815 - the published name
    mRecall: float  # noqa: N815
    mAP: float  # noqa: N815
    chance: float
    mF1: float  # noqa: N815
    mIoU: float  # noqa: N815


class BinaryScores(NamedTuple):
    """Classifiers of pixels and how well each does: the detectors, or one for each label under `linear-or`.

    Attributes:
        labels: `(G,)` int64, the concept of each.
        positives: `(G,)` int64, validation pixels that carry it; where there are none, all scores are 0.
        pixels: `(G,)` int64, validation pixels that count: of images in which its category is annotated.
        precision: `(G,)` float64, as are the others.
        recall: `(G,)`.
        average_precision: `(G,)`.
        f1: `(G,)`.
        iou: `(G,)`, at the layer's resolution.
        thresholds: `(I,)` of the detectors, re-fitted under `supervised-thresholds`.
    """

    labels: Tensor
    positives: Tensor
    pixels: Tensor
    precision: Tensor
    recall: Tensor
    average_precision: Tensor
    f1: Tensor
    iou: Tensor
    thresholds: Tensor

    def prevalence(self) -> Tensor:
        """The share of the pixels that carry the concept, `(G,)` float64: the average precision of chance."""
        return self.positives.double() / self.pixels.clamp(min=1)

    def means(self) -> BinaryMeans:
        """The means over all classifiers, those without positives included."""
        means = (self.precision, self.recall, self.average_precision, self.prevalence(), self.f1, self.iou)
        return BinaryMeans(*(float(each.mean()) for each in means))


def binary_metrics(
    detectors: Detectors, labels: Tensor, data: LabelledFeatures, reading: Reading = "individual"
) -> BinaryScores:
    """Precision, recall, average precision, F1 and IoU on the validation pixels (method.md section 4).

    A pixel is one of the layer, with the labels that `uibe.functional.pixel_labels` gives it; only images in
    which the concept's category is annotated take part.

    - `individual`: every detector by itself; pixels are ranked by `w . x`.
    - `linear-or`: the detectors of one label as one, which fires where any of them does. Its ranking is the
      maximum of the members' distances from their hyperplanes, `(w . x - b) / |w|`: above zero exactly where
      one fires, and in one unit for all of them.
    - `supervised-thresholds`: directions as they are, thresholds re-fitted for the best F1 on train.

    Args:
        detectors: in raw feature space.
        labels: `(I,)` int64, each detector's concept, from the train split.
        data: features and labels.
        reading: one of the three.

    Raises:
        ValueError: if the reading is unknown, or there is not one label for each detector.

    Example:
        >>> from types import SimpleNamespace
        >>> image = SimpleNamespace(planes=torch.tensor([[[1, 0]]]), concepts=torch.tensor([0]),
        ...                         image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> concepts = SimpleNamespace(names=["sky"], category=torch.tensor([0]), categories=["object"])
        >>> data = SimpleNamespace(concepts=concepts, num_pixels=lambda split: 2,
        ...                        labelled_batches=lambda split: [(torch.tensor([[[[3.0, 2.0]]]]), [image])])
        >>> one = Detectors(torch.tensor([[1.0]]), torch.tensor([1.0]))
        >>> binary_metrics(one, torch.tensor([0]), data).means()
        BinaryMeans(mPrecision=0.5, mRecall=1.0, mAP=1.0, chance=0.5, mF1=0.6666666666666666, mIoU=0.5)
        >>> binary_metrics(one, torch.tensor([0]), data, "supervised-thresholds").thresholds.tolist()
        [2.5]
    """
    if reading not in READINGS:
        raise ValueError(f"reading: expected one of {', '.join(READINGS)}, got {reading!r}")
    if len(labels) != len(detectors.thresholds):
        raise ValueError(f"labels: expected {len(detectors.thresholds)}, one a detector, got {len(labels)}")
    labels = labels.to(detectors.thresholds.device)
    if reading == "supervised-thresholds":
        detectors = Detectors(detectors.directions, _refitted(detectors, labels, data))
    classifiers = _joined(detectors, labels) if reading == "linear-or" else _single(detectors, labels)
    return _scores(classifiers, data)._replace(thresholds=detectors.thresholds.cpu())


def segmentation_rates(counts: Counts, labels: Tensor, categories: Tensor) -> BinaryRates:
    """Precision, recall, F1 and IoU at the masks' resolution, `(I,)`, from a tally; its rule is the union's.

    Args:
        counts: of the validation split.
        labels: `(I,)` int64, from the train split.
        categories: `(C,)` int64, the category of each concept.

    Example:
        >>> one, none = torch.tensor([[2]]), torch.tensor(0)
        >>> counts = Counts(one, 2 * one, one[0], one[0], none)
        >>> segmentation_rates(counts, torch.tensor([0]), torch.tensor([0])).precision.tolist()
        [0.5]
    """
    own = labels[:, None]
    return binary_rates(
        counts.intersections.gather(1, own)[:, 0],
        counts.activated.gather(1, categories[own])[:, 0],
        counts.labelled[labels],
    )


class _Classifiers(NamedTuple):
    """G classifiers made of I detectors: a pixel's rank is the largest `(w . x - offset) / length` of them.

    Attributes:
        directions: `(I, D)`.
        offsets: `(I,)`.
        lengths: `(I,)`.
        members: `(I,)` int64, the classifier that each detector belongs to.
        concepts: `(G,)` int64.
        cuts: `(G,)`, the rank above which each fires.
    """

    directions: Tensor
    offsets: Tensor
    lengths: Tensor
    members: Tensor
    concepts: Tensor
    cuts: Tensor

    def chunks(self, size: int) -> Iterator["_Classifiers"]:
        """The same, a few classifiers at a time."""
        for start in range(0, len(self.concepts), size):
            part, own = slice(start, start + size), (self.members >= start) & (self.members < start + size)
            yield _Classifiers(
                self.directions[own],
                self.offsets[own],
                self.lengths[own],
                self.members[own] - start,
                self.concepts[part],
                self.cuts[part],
            )

    def rank(self, features: Tensor) -> Tensor:
        """`(G, N * H * W)` ranks of the pixels."""
        maps = projection_maps(features, self.directions).transpose(0, 1).flatten(1)
        margins = (maps - self.offsets[:, None]) / self.lengths[:, None]
        ranks = margins.new_full((len(self.concepts), margins.shape[1]), -torch.inf)
        return ranks.scatter_reduce_(0, self.members[:, None].expand_as(margins), margins, "amax")


def _single(detectors: Detectors, labels: Tensor) -> _Classifiers:
    directions, thresholds = detectors
    each, zeros = torch.arange(len(labels), device=labels.device), torch.zeros_like(thresholds)
    return _Classifiers(directions, zeros, zeros + 1, each, labels, thresholds)


def _joined(detectors: Detectors, labels: Tensor) -> _Classifiers:
    directions, thresholds = detectors
    concepts, members = torch.unique(labels, return_inverse=True)
    lengths = directions.norm(dim=1).clamp(min=torch.finfo(directions.dtype).tiny)
    cuts = thresholds.new_zeros(len(concepts))
    return _Classifiers(directions, thresholds, lengths, members, concepts, cuts)


def _refitted(detectors: Detectors, labels: Tensor, data: LabelledFeatures) -> Tensor:
    """Thresholds of the best F1 on the train split."""
    columns = _columns(_single(detectors, labels), data, "train")
    fitted = [best_f1_threshold(ranks, targets) for ranks, targets in columns]
    return torch.stack(fitted).to(detectors.thresholds) if fitted else detectors.thresholds


def _scores(classifiers: _Classifiers, data: LabelledFeatures) -> BinaryScores:
    counts, average = [], []
    columns = _columns(classifiers, data, "val")
    for (ranks, targets), cut in zip(columns, classifiers.cuts, strict=True):
        fires = ranks > cut
        counted = targets.new_tensor(len(targets), dtype=torch.int64)
        counts.append(torch.stack([(fires & targets).sum(), fires.sum(), targets.sum(), counted]))
        average.append(average_precision(ranks, targets))
    found = torch.stack(counts).cpu() if counts else torch.zeros(0, 4, dtype=torch.int64)
    rates = binary_rates(*found[:, :3].unbind(1))
    return BinaryScores(
        labels=classifiers.concepts.cpu(),
        positives=found[:, 2],
        pixels=found[:, 3],
        precision=rates.precision,
        recall=rates.recall,
        average_precision=torch.tensor(average, dtype=torch.float64),
        f1=rates.f1,
        iou=rates.iou,
        thresholds=classifiers.cuts.cpu(),
    )


def _columns(
    classifiers: _Classifiers, data: LabelledFeatures, split: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Ranks and targets of the pixels that count, one classifier after the other."""
    total = data.num_pixels(split)
    size = max(1, _MEMORY // (max(1, total) * (classifiers.directions.dtype.itemsize + 1)))
    for chunk in classifiers.chunks(size):
        yield from _columns_of_chunk(chunk, data, split)  # its tensors are gone before the next chunk's come


def _columns_of_chunk(
    chunk: _Classifiers, data: LabelledFeatures, split: str
) -> Iterator[tuple[Tensor, Tensor]]:
    shape = (len(chunk.concepts), data.num_pixels(split))
    ranks = chunk.directions.new_empty(shape)
    signs = chunk.directions.new_empty(shape, dtype=torch.int8)
    _fill(ranks, signs, chunk, data, split)
    for rank, sign in zip(ranks, signs, strict=True):
        counts = sign >= 0
        yield rank[counts], sign[counts] == 1


def _fill(ranks: Tensor, signs: Tensor, chunk: _Classifiers, data: LabelledFeatures, split: str) -> None:
    categories, first = data.concepts.category.to(ranks.device), 0
    for features, labels in data.labelled_batches(split):
        size = (features.shape[2], features.shape[3])
        part = slice(first, first + len(features) * size[0] * size[1])
        ranks[:, part] = chunk.rank(features)
        signs[:, part] = pixel_signs(labels, size, categories, chunk.concepts).T
        first = part.stop
