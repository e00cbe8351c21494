"""First and second moments of pixels, as float64 sums that add up over batches and processes."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moments", "channel_variance", "covariance", "pixel_moments"]


class Moments(NamedTuple):
    """Sums over pixels, float64.

    Attributes:
        num_pixels: shape `()`, int64.
        total: `(D,)`, sum of x.
        squares: `(D,)`, sum of x * x, or `(D, D)`, sum of x x^T.
    """

    num_pixels: Tensor
    total: Tensor
    squares: Tensor


def pixel_moments(pixels: Tensor, full: bool = False) -> Moments:
    """Moments of `(P, D)` pixels.

    Args:
        pixels: `(P, D)`.
        full: whether to keep the products of different channels too, as whitening and PCA need.

    Example:
        >>> pixel_moments(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).squares.tolist()
        [10.0, 20.0]
    """
    x = pixels.double()
    squares = x.T @ x if full else x.square().sum(0)
    return Moments(torch.tensor(len(x), device=x.device), x.sum(0), squares)


def channel_variance(moments: Moments) -> Tensor:
    """Variance of each channel, `(D,)` float64, `E[x^2] - E[x]^2`, never below 0.

    Example:
        >>> channel_variance(pixel_moments(torch.tensor([[1.0], [3.0]]))).tolist()
        [1.0]
    """
    squares = moments.squares.diagonal() if moments.squares.ndim == 2 else moments.squares
    mean = moments.total / moments.num_pixels
    return (squares / moments.num_pixels - mean.square()).clamp(min=0)


def covariance(moments: Moments) -> Tensor:
    """Covariance matrix, `(D, D)` float64.

    Raises:
        ValueError: if only the diagonal was summed.
    """
    if moments.squares.ndim != 2:
        raise ValueError("expected moments with full=True for a covariance matrix")
    mean = moments.total / moments.num_pixels
    return moments.squares / moments.num_pixels - torch.outer(mean, mean)
