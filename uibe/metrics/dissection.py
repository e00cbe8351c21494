"""Network dissection as metrics: tallies that add up, and the pass that labels and scores detectors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from uibe.functional.detectors import Detectors, projection_maps
from uibe.functional.label_counts import LabelCounts, Labels, label_counts, table_scratch
from uibe.functional.quantiles import column_quantiles
from uibe.functional.scores import DissectionScores, assign_labels, category_scores, dissection_scores
from uibe.functional.tally import Tally, Union, empty_tally, iou, tally_batch

__all__ = [
    "Concepts",
    "Counts",
    "Dissection",
    "DissectionTally",
    "LabelledFeatures",
    "dissect",
    "quantile_thresholds",
    "with_quantile_thresholds",
]


class Concepts(Protocol):
    """What is known of the concepts: `names` of the C concepts, `category` (C,) of each, K `categories`."""

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102 - described above
    @property
    def category(self) -> Tensor: ...  # noqa: D102
    @property
    def categories(self) -> Sequence[str]: ...  # noqa: D102


class LabelledFeatures(Protocol):
    """Features and labels of the splits `train` and `val`, readable any number of times."""

    @property
    def concepts(self) -> Concepts:
        """The concepts that the labels name."""

    def num_pixels(self, split: str) -> int:
        """Number of feature pixels of a split."""

    def feature_batches(self, split: str) -> Iterable[Tensor]:
        """`(N, D, H, W)` batches."""

    def labelled_batches(self, split: str) -> Iterable[tuple[Tensor, Sequence[Labels]]]:
        """`(N, D, H, W)` batches with the labels of their images."""


class Counts(NamedTuple):
    """What a `DissectionTally` counts, int64: a `Tally`, and the feature pixels seen and fired at.

    Attributes:
        intersections: `(I, C)`, see `uibe.functional.tally.Tally`.
        activated: `(I, K)`.
        labelled: `(C,)`.
        fired: `(I,)` feature pixels at which each detector fires.
        num_pixels: `()` feature pixels seen.
    """

    intersections: Tensor
    activated: Tensor
    labelled: Tensor
    fired: Tensor
    num_pixels: Tensor

    def iou(self, categories: Tensor) -> Tensor:
        """IoU of every detector and concept, `(I, C)` float64."""
        return iou(Tally(self.intersections, self.activated, self.labelled), categories)

    def firing_rate(self) -> Tensor:
        """Share of feature pixels at which each detector fires, `(I,)` float64."""
        return self.fired.double() / self.num_pixels.clamp(min=1)


class DissectionTally(Metric):
    """Counts of one set of detectors over one split; int64 sums, so any division of the images will do.

    Args:
        detectors: I.
        categories: `(C,)` int64, the category of each concept.
        num_categories: K.
        union: `annotated` or `netdissect-lite`, see `uibe.functional.tally.tally_batch`.

    Example:
        >>> from types import SimpleNamespace
        >>> tally = DissectionTally(1, categories=torch.tensor([0]), num_categories=1)
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> [labels] = label_counts([sky])
        >>> tally.update(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([1.0]), labels)
        >>> tally.counts().iou(tally.categories).tolist(), tally.counts().firing_rate().tolist()
        ([[1.0]], [0.5])
    """

    full_state_update = False
    intersections: Tensor
    activated: Tensor
    labelled: Tensor
    fired: Tensor
    num_pixels: Tensor

    def __init__(
        self, detectors: int, categories: Tensor, num_categories: int, union: Union = "annotated"
    ) -> None:
        super().__init__(compute_with_cache=False)
        self.categories = categories
        self.union: Union = union
        tally = empty_tally(detectors, len(categories), num_categories)
        start = Counts(*tally, torch.zeros(detectors, dtype=torch.int64), torch.tensor(0))
        self._shapes = [counts.shape for counts in start]
        for name, counts in start._asdict().items():
            self.add_state(name, counts, dist_reduce_fx="sum")

    def update(self, maps: Tensor, thresholds: Tensor, labels: LabelCounts) -> None:
        """Add images: `(n, I, H, W)` projections, `(I,)` thresholds, labels of the n images."""
        tally = Tally(self.intersections, self.activated, self.labelled)
        tally_batch(tally, maps, thresholds, labels, self.categories, self.union)
        self.fired += (maps > thresholds[:, None, None]).sum((0, 2, 3))
        self.num_pixels += maps[:, 0].numel()

    def compute(self) -> Counts:
        """The counts over all images and processes; `counts` gives them in their full shapes."""
        return Counts(self.intersections, self.activated, self.labelled, self.fired, self.num_pixels)

    def counts(self) -> Counts:
        """As `compute`, in full shapes: torchmetrics squeezes every tensor of one entry."""
        return Counts(
            *(count.reshape(shape) for count, shape in zip(self.compute(), self._shapes, strict=True))
        )


class Dissection(NamedTuple):
    """Labelled and scored detectors: labels from the train split, scores from the validation split.

    Attributes:
        labels: `(I,)` int64, `argmax_c` of the IoU on train.
        iou_train: `(I,)` float64, IoU for that label on train.
        iou_val: `(I,)` float64, on validation: the detector's score.
        thresholds: `(I,)`.
        firing_rate: `(I,)` float64, share of the train split's feature pixels.
        categories: `(C,)` int64, the category of each concept.
        category_names: K names.
    """

    labels: Tensor
    iou_train: Tensor
    iou_val: Tensor
    thresholds: Tensor
    firing_rate: Tensor
    categories: Tensor
    category_names: tuple[str, ...]

    def scores(self) -> DissectionScores:
        """S1, S2, interpretable and unique detectors over all categories."""
        return dissection_scores(self.iou_val, self.labels)

    def category_scores(self) -> dict[str, DissectionScores]:
        """The same for the detectors of each category alone."""
        scores = category_scores(self.iou_val, self.labels, self.categories, len(self.category_names))
        return dict(zip(self.category_names, scores, strict=True))


class _TrainPixels:
    """Projections of the train pixels, `(p, I)` batches, any number of times."""

    def __init__(self, data: LabelledFeatures, directions: Tensor) -> None:
        self.data, self.directions = data, directions

    def __iter__(self) -> Iterator[Tensor]:
        for features in self.data.feature_batches("train"):
            yield projection_maps(features, self.directions).transpose(0, 1).flatten(1).T


def quantile_thresholds(data: LabelledFeatures, directions: Tensor, quantile: float) -> Tensor:
    """Thresholds exceeded by a share of all train pixels (NetDissect's rule), `(I,)`.

    NetDissect takes the quantile over the whole data set; labels and thresholds come from the train
    split here, so that the validation split takes no part in choosing anything.
    """
    return column_quantiles(_TrainPixels(data, directions), quantile, data.num_pixels("train"))


def with_quantile_thresholds(data: LabelledFeatures, directions: Tensor, quantile: float) -> Detectors:
    """Directions with NetDissect's thresholds; the identity gives the natural basis.

    Args:
        data: its train split sets the thresholds.
        directions: `(I, D)` in raw feature space.
        quantile: share of train pixels that exceed each threshold.
    """
    return Detectors(directions, quantile_thresholds(data, directions, quantile))


def dissect(
    detectors: Mapping[str, Detectors], data: LabelledFeatures, union: Union = "annotated"
) -> dict[str, Dissection]:
    """Label detectors on train and score them on validation; all sets share one pass over the labels.

    Args:
        detectors: sets of detectors in raw feature space, by name.
        data: features and labels.
        union: rule for a detector's area.

    Returns:
        One `Dissection` a set.
    """
    train, val = (_tally(detectors, data, split, union) for split in ("train", "val"))
    return {name: _dissection(train[name], val[name], detectors[name], data.concepts) for name in detectors}


def _tally(
    detectors: Mapping[str, Detectors], data: LabelledFeatures, split: str, union: Union
) -> dict[str, DissectionTally]:
    concepts = data.concepts
    device = next(iter(detectors.values())).directions.device
    tallies = {
        name: DissectionTally(
            len(each.thresholds), concepts.category.to(device), len(concepts.categories), union
        ).to(device)
        for name, each in detectors.items()
    }
    scratch = table_scratch(device)
    for batch, labels in data.labelled_batches(split):
        for counts in label_counts(labels, scratch):
            features = batch[counts.images]
            projected: list[tuple[Tensor, Tensor]] = []
            for name, each in detectors.items():
                maps = next((maps for known, maps in projected if known is each.directions), None)
                if maps is None:
                    maps = projection_maps(features, each.directions)
                    projected.append((each.directions, maps))
                tallies[name].update(maps, each.thresholds, counts)
    return tallies


def _dissection(
    train: DissectionTally, val: DissectionTally, detectors: Detectors, concepts: Concepts
) -> Dissection:
    counts = train.counts()
    iou_train = counts.iou(train.categories)
    labels = assign_labels(iou_train)[:, None]
    return Dissection(
        labels=labels[:, 0].cpu(),
        iou_train=iou_train.gather(1, labels)[:, 0].cpu(),
        iou_val=val.counts().iou(val.categories).gather(1, labels)[:, 0].cpu(),
        thresholds=detectors.thresholds.cpu(),
        firing_rate=counts.firing_rate().cpu(),
        categories=concepts.category.cpu(),
        category_names=tuple(concepts.categories),
    )
