"""The features of a backbone's layer: from images, or given."""

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import torch
from PIL import Image
from torch import Tensor

from uibe.errors import DataError
from uibe.library.pictures import CHANNELS
from uibe.modules.backbone import Backbone

__all__ = ["are_features", "batches", "features_of"]

_BATCH = 32  # images that run through the backbone at once


def features_of(backbone: Backbone, images: Sequence[Image.Image], names: Sequence[str]) -> Tensor:
    """The layer's output, `(N, D, H, W)`.

    Args:
        backbone: cut at the layer.
        images: RGB.
        names: of the images, for messages.

    Raises:
        DataError: if it is not finite.
    """
    preprocessing = backbone.preprocessing
    inputs = preprocessing.standardize(torch.stack([preprocessing.resize(image) for image in images]))
    return backbone.finite_features(inputs.to(next(backbone.parameters())), names)


def batches(backbone: Backbone, images: Sequence[Image.Image]) -> Iterator[Tensor]:
    """`features_of` batch by batch."""
    for at in range(0, len(images), _BATCH):
        part = images[at : at + _BATCH]
        yield features_of(backbone, part, [f"images[{at + n}]" for n in range(len(part))])


def are_features(given: object, num_features: int) -> TypeGuard[Tensor]:
    """Whether these are features `(N, D, H, W)`, and no images.

    Args:
        given: of any kind.
        num_features: D; if it is a number of channels that images have, nothing is taken for features.

    Raises:
        DataError: if they are not finite, or a tensor of so many channels is neither.

    Example:
        >>> are_features(torch.zeros(2, 64, 3, 3), 64), are_features(torch.zeros(2, 3, 64, 64), 64)
        (True, False)
    """
    if not isinstance(given, Tensor) or given.ndim != 4 or given.shape[1] in CHANNELS:
        return False
    if given.shape[1] == num_features:
        if not bool(given.isfinite().all()):
            raise DataError("features: expected finite values, found NaN or infinity")
        return True
    if given.shape[3] in CHANNELS:  # images whose channels come last: they are told what to do
        return False
    raise DataError(
        f"features: expected (N, {num_features}, H, W), got {tuple(given.shape)}; "
        "images have 1, 3 or 4 channels"
    )
