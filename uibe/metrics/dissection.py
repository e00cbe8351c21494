"""Network dissection: labels from the train split, scores from validation, and NetDissect's thresholds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import Detectors, projection_maps
from uibe.functional.groups import group_weights
from uibe.functional.intervals import Counts, most_counts
from uibe.functional.processes import global_sum, world_size
from uibe.functional.quantiles import column_quantiles
from uibe.functional.scores import DissectionScores, assign_labels, category_scores, dissection_scores
from uibe.functional.tally import Union
from uibe.functional.threads import in_threads
from uibe.metrics.replicates import ReplicateTally
from uibe.metrics.tallies import LabelledFeatures, count_split, tally_split

__all__ = [
    "Dissection",
    "dissect",
    "dissect_replicates",
    "mean_firing_rate",
    "quantile_thresholds",
    "sweep_thresholds",
    "with_quantile_thresholds",
]

_PROJECTIONS = 512 * 2**20  # bytes of projections to keep for several quantiles


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

    @property
    def most(self) -> Counts:
        """The most that the counts among its scores can be."""
        return most_counts(len(self.labels), len(self.categories))

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
        threads = torch.get_num_threads() if self.directions.device.type == "cpu" else 1
        return in_threads(self._project, self.data.feature_batches("train"), threads)

    def _project(self, features: Tensor) -> Tensor:
        return projection_maps(features, self.directions).transpose(0, 1).flatten(1).T


def quantile_thresholds(data: LabelledFeatures, directions: Tensor, quantile: float) -> Tensor:
    """Thresholds exceeded by a share of all train pixels (NetDissect's rule), `(I,)`.

    NetDissect takes the quantile over the whole data set; labels and thresholds come from the train
    split here, so that the validation split takes no part in choosing anything.
    """
    return _quantiles(_TrainPixels(data, directions), quantile, data.num_pixels("train"))


def mean_firing_rate(data: LabelledFeatures, detectors: Detectors) -> float:
    """Mean over the detectors of the share of all train pixels at which they fire, 0 to 1.

    Args:
        data: its train split counts, that of all processes together.
        detectors: in raw feature space.
    """
    directions, thresholds = detectors
    fired = torch.zeros((), dtype=torch.int64, device=thresholds.device)
    for pixels in _TrainPixels(data, directions):
        fired += (pixels > thresholds).sum()
    return int(global_sum(fired)) / max(data.num_pixels("train") * len(thresholds), 1)


def sweep_thresholds(data: LabelledFeatures, directions: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """As `quantile_thresholds` for each share; the pixels are projected once if that fits the memory."""
    pixels: Iterable[Tensor] = _TrainPixels(data, directions)
    total = data.num_pixels("train")
    if len(shares) > 1 and total * len(directions) * directions.element_size() <= _PROJECTIONS:
        pixels = list(pixels)
    return [_quantiles(pixels, share, total) for share in shares]


def _quantiles(pixels: Iterable[Tensor], share: float, total: int) -> Tensor:
    """Over the pixels of all processes."""
    return column_quantiles(pixels, share, total, add_up=global_sum if world_size() > 1 else None)


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
    """Label detectors on train and score them on validation; all sets share one pass over each split.

    Args:
        detectors: sets of detectors in raw feature space, by name.
        data: features and labels.
        union: rule for a detector's area.

    Returns:
        One `Dissection` a set.
    """
    return dissect_replicates(detectors, data, replicates=0, union=union)[0]


def dissect_replicates(
    detectors: Mapping[str, Detectors],
    data: LabelledFeatures,
    replicates: int = 200,
    seed: int = 0,
    union: Union = "annotated",
) -> tuple[dict[str, Dissection], dict[str, Tensor]]:
    """As `dissect`, with the validation scores of bootstrap replicates, the same images for all sets.

    The images of a group are drawn together, see `LabelledFeatures.groups`.

    Args:
        detectors: sets of detectors in raw feature space, by name.
        data: features and labels.
        replicates: B, how often the validation images are drawn again.
        seed: of the draws.
        union: rule for a detector's area.

    Returns:
        Dissections, and `(1 + B, I)` float64 IoU of each detector for its label; row 0 is the data itself.
    """
    train = {name: tally.counts() for name, tally in tally_split(detectors, data, "train", union).items()}
    iou_train = {
        name: counts.iou(data.concepts.category.to(counts.labelled.device)) for name, counts in train.items()
    }
    labels = {name: assign_labels(each) for name, each in iou_train.items()}
    weights = group_weights(data.groups("val"), replicates, seed)

    def make(name: str) -> ReplicateTally:
        return ReplicateTally(labels[name], weights, data.concepts.category, union).to(labels[name].device)

    val = count_split(detectors, data, "val", make)
    iou = {name: tally.replicates().cpu() for name, tally in val.items()}
    results = {
        name: Dissection(
            labels=labels[name].cpu(),
            iou_train=iou_train[name].gather(1, labels[name][:, None])[:, 0].cpu(),
            iou_val=iou[name][0],
            thresholds=each.thresholds.cpu(),
            firing_rate=train[name].firing_rate().cpu(),
            categories=data.concepts.category.cpu(),
            category_names=tuple(data.concepts.categories),
        )
        for name, each in detectors.items()
    }
    return results, iou
