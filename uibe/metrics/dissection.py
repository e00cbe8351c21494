"""Network dissection: labels from the train split, scores from validation, and NetDissect's thresholds."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import Detectors, projection_maps
from uibe.functional.quantiles import column_quantiles
from uibe.functional.scores import DissectionScores, assign_labels, category_scores, dissection_scores
from uibe.functional.tally import Union
from uibe.functional.threads import in_threads
from uibe.metrics.tallies import Concepts, DissectionTally, LabelledFeatures, tally_split

__all__ = ["Dissection", "dissect", "quantile_thresholds", "with_quantile_thresholds"]


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
        threads = torch.get_num_threads() if self.directions.device.type == "cpu" else 1
        return in_threads(self._project, self.data.feature_batches("train"), threads)

    def _project(self, features: Tensor) -> Tensor:
        return projection_maps(features, self.directions).transpose(0, 1).flatten(1).T


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
    train, val = (tally_split(detectors, data, split, union) for split in ("train", "val"))
    return {name: _dissection(train[name], val[name], detectors[name], data.concepts) for name in detectors}


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
