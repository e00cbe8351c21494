"""Labels of detectors, where there are labelled images."""

from typing import Any, NamedTuple

from torch import Tensor

from commands.data import DataOptions, open_data
from datamodules import FeatureDataModule
from uibe.errors import ConfigError, DataError
from uibe.functional.detectors import Detectors
from uibe.library.labels import Label, labels_of
from uibe.metrics.dissection import dissect_replicates
from uibe.modules.backbone import Backbone

__all__ = ["Labelled", "labels_for", "open_labelled"]


class Labelled(NamedTuple):
    """Labels of I detectors, and what their intervals come from.

    Attributes:
        labels: with an interval for each detector by itself.
        replicates: `(1 + B, I)` IoU of the detectors for their labels, first of the images as they are; in a
            row all detectors have the same images, so that means of several have intervals too.
    """

    labels: tuple[Label, ...]
    replicates: Tensor


def open_labelled(
    checkpoint: dict[str, Any], data: DataOptions, backbone: Backbone
) -> tuple[FeatureDataModule | None, str]:
    """The checkpoint's data, or None and the reason why it cannot be had.

    Data that was asked for must be there; without it, most of what a command does can still be done.

    Raises:
        ConfigError: if `data.root` was given and has no labels, or `data.group_by` is no regular expression.
        DataError: if `data.root` was given and cannot be read, or `data.group_by` and matches nothing.
    """
    try:
        return open_data(checkpoint, data, backbone), ""
    except (ConfigError, DataError) as error:
        if data.root is not None or data.group_by is not None:
            raise
        return None, str(error)


def labels_for(
    detectors: Detectors, datamodule: FeatureDataModule, replicates: int, seed: int = 0
) -> Labelled:
    """Labels with the intervals of their IoU.

    Args:
        detectors: on the features' device.
        datamodule: opened, with labels.
        replicates: of the bootstrap over validation images.
        seed: of the bootstrap.
    """
    store = datamodule.features
    results, iou = dissect_replicates({"own": detectors}, store, replicates, seed)
    return Labelled(labels_of(results["own"], iou["own"], store.concepts.names), iou["own"])
