"""What a detector computes: projections, logits, scores, and their form in raw feature space."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Detectors", "check_finite", "fold", "is_natural", "logits", "pixels_of", "projection_maps"]


class Detectors(NamedTuple):
    """Linear concept detectors: detector `i` fires at a pixel where `directions[i] . x > thresholds[i]`.

    Attributes:
        directions: `(I, D)`.
        thresholds: `(I,)`.
    """

    directions: Tensor
    thresholds: Tensor


def check_finite(name: str, tensor: Tensor) -> Tensor:
    """The tensor itself.

    Raises:
        ValueError: if it holds NaN or infinity; names it.

    Example:
        >>> check_finite("thresholds", torch.tensor([1.0, torch.nan]))
        Traceback (most recent call last):
        ValueError: thresholds: expected finite numbers
    """
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name}: expected finite numbers")
    return tensor


def pixels_of(features: Tensor) -> Tensor:
    """`(N, D, H, W)` features as `(P, D)` pixels, image by image and row by row.

    Example:
        >>> pixels_of(torch.arange(4.0).view(1, 2, 1, 2)).tolist()
        [[0.0, 2.0], [1.0, 3.0]]
    """
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def logits(pixels: Tensor, directions: Tensor, thresholds: Tensor, margin: Tensor) -> Tensor:
    """`l = (w . x - b) / M`, positive where the detector fires (method.md section 1).

    Args:
        pixels: `(P, D)`.
        directions: `(I, D)`, rows of unit norm.
        thresholds: `b`, `(I,)`.
        margin: `M`, shape `()`, positive.

    Returns:
        `(P, I)`; their sigmoid is the detectors' score `y` in [0, 1].

    Example:
        >>> logits(torch.tensor([[3.0, 1.0]]), torch.eye(2), torch.ones(2), torch.tensor(2.0)).tolist()
        [[1.0, 0.0]]
    """
    return (pixels @ directions.T - thresholds) / margin


def fold(detectors: Detectors, mean: Tensor, transform: Tensor) -> Detectors:
    """Express detectors of standardized features, `z = (x - mean) transform`, in raw feature space.

    `w_raw = transform w` and `b_raw = b + w_raw . mean`, so that `w_raw . x - b_raw = w . z - b`.

    Args:
        detectors: in standardized space.
        mean: `(D,)`.
        transform: `(D,)`, a scale for each channel, or a symmetric `(D, D)`.

    Returns:
        The same detectors for raw features; directions no longer have unit norm.

    Example:
        >>> standardized = Detectors(torch.tensor([[1.0]]), torch.tensor([0.0]))
        >>> fold(standardized, mean=torch.tensor([3.0]), transform=torch.tensor([0.5]))
        Detectors(directions=tensor([[0.5000]]), thresholds=tensor([1.5000]))
    """
    scaled = detectors.directions * transform if transform.ndim == 1 else detectors.directions @ transform
    return Detectors(scaled, detectors.thresholds + scaled @ mean)


def projection_maps(features: Tensor, directions: Tensor) -> Tensor:
    """Project every pixel on every direction, image by image.

    One product for each image, so that an image's projections are bit for bit the same in any batch.

    Args:
        features: `(N, D, H, W)`.
        directions: `(I, D)`.

    Returns:
        `(N, I, H, W)`.

    Example:
        >>> projection_maps(torch.ones(2, 3, 4, 5), torch.eye(3)).shape
        torch.Size([2, 3, 4, 5])
    """
    height, width = features.shape[2:]
    maps = torch.stack([directions @ image.flatten(1) for image in features])
    return maps.view(len(features), len(directions), height, width)


def is_natural(directions: Tensor) -> bool:
    """Whether the directions are the channels themselves, so that features are their own projections.

    Example:
        >>> is_natural(torch.eye(3)), is_natural(torch.eye(3)[:2])
        (True, False)
    """
    return torch.equal(directions, torch.eye(directions.shape[1]).to(directions))
