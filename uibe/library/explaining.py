"""Explanations of a backbone's predictions in the coordinates of any basis."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.explanation import (
    Coordinates,
    coordinates,
    orthonormal_coordinates,
    split_prediction,
)
from uibe.library.explanation import Explanation
from uibe.library.naming import concepts_of, suggestion
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

__all__ = ["Classes", "class_name", "class_numbers", "coordinates_of", "explain_features"]

Classes = str | int | float | Sequence[str | int | float]
"""One or more outputs of a network, by name or number."""


@torch.no_grad()
def coordinates_of(basis: InterpretableBasis | LinearDetectors) -> Coordinates:
    """Coordinates of a learned basis, around the mean of its training pixels.

    Example:
        >>> coordinates_of(InterpretableBasis(3)).inverse.shape
        torch.Size([3, 3])
    """
    standardizer = basis.standardizer
    if isinstance(basis, InterpretableBasis):
        return orthonormal_coordinates(basis.rotation(), standardizer.mean, standardizer.transform)
    return coordinates(basis.detectors().directions, standardizer.mean)


def class_name(backbone: Backbone, number: int) -> str:
    """The name of an output, or its number where the weights carry no names."""
    return f"class {number}" if backbone.class_names is None else backbone.class_names[number]


def class_numbers(backbone: Backbone, classes: Classes, num_classes: int) -> list[int]:
    """Numbers of the outputs that are meant, by name or number.

    Args:
        backbone: its weights may carry names.
        classes: names, upper or lower case, or numbers; a single one need not be in a list.
        num_classes: K.

    Raises:
        ConfigError: if there is no such class; the message suggests the closest names.
    """
    if isinstance(classes, str | int | float):
        classes = [classes]
    return [_class_number(backbone.class_names, each, num_classes) for each in classes]


def _class_number(names: Sequence[str] | None, wanted: str | int | float, num_classes: int) -> int:
    folded = [name.casefold() for name in names or ()]
    if str(wanted).casefold() in folded:
        return folded.index(str(wanted).casefold())
    if not isinstance(wanted, str) or wanted.isdigit():
        if float(wanted).is_integer() and 0 <= int(wanted) < num_classes:
            return int(wanted)
        raise ConfigError(f"classes: expected a number from 0 to {num_classes - 1}, got {wanted}")
    if names is None:
        raise ConfigError(f"classes: {wanted!r}: the weights carry no names; give numbers of outputs")
    what = "give a name of the weights' classes"
    raise ConfigError(f"classes: no class {wanted!r}{suggestion(wanted, names, what)}")


def explain_features(
    backbone: Backbone,
    basis: Coordinates,
    features: Tensor,
    classes: Classes | None = None,
    top: int = 3,
    concepts: Sequence[str] = (),
) -> list[Explanation]:
    """Split the logits of each image.

    Args:
        backbone: its head is explained.
        basis: on the backbone's device.
        features: `(N, D, H, W)`.
        classes: one or more, names or numbers; None for each image's own highest.
        top: how many those are.
        concepts: of the I directions; of one name their contributions are summed. None for numbers.

    Raises:
        ConfigError: if a class is unknown, or the head cannot run on features alone.
    """
    with torch.no_grad():
        logits = backbone.head(features)
    if classes is None and top < 1:
        raise ConfigError(f"top: expected at least 1, got {top}")
    size, number = logits.shape[1], len(basis.directions)
    called = tuple(concepts) or concepts_of(None, (), number)
    given = None if classes is None else class_numbers(backbone, classes, size)
    if given == []:
        raise ConfigError("classes: none are given; name at least one, or leave them out for the highest")
    found = []
    for each, own in zip(features, logits, strict=True):
        chosen = own.topk(min(top, size)).indices.tolist() if given is None else given
        split = split_prediction(backbone.head, each[None], chosen, basis)
        names = [class_name(backbone, number) for number in chosen]
        parts = (split.logits[0], split.constant, split.contributions[0], split.residual[0])
        found.append(
            Explanation(chosen, names, *parts, each, split.gradients[0], basis, called, backbone.layer)
        )
    return found
