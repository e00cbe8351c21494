"""First and second moments of pixels, as float64 sums that add up over batches and processes."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Moments", "channel_variance", "covariance", "pixel_moments"]

_ROUNDING = 1e-12  # share of the mean square: the sums' own rounding, and a few of float32's steps, squared


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
    """Variance of each channel, `(D,)` float64, `E[x^2] - E[x]^2`; 0 where rounding leaves nothing of it.

    That is below `1e-12 E[x^2]`: the difference of two nearly equal sums would make up a spread for a channel
    that is constant and far from 0.

    Example:
        >>> channel_variance(pixel_moments(torch.tensor([[1.0], [3.0]]))).tolist()
        [1.0]
    """
    squares = moments.squares.diagonal() if moments.squares.ndim == 2 else moments.squares
    mean_square = squares / moments.num_pixels
    variance = mean_square - (moments.total / moments.num_pixels).square()
    # the other way round NaN would become 0
    return torch.where(variance <= _ROUNDING * mean_square, 0.0, variance)


def covariance(moments: Moments) -> Tensor:
    """Covariance matrix, `(D, D)` float64; 0 for channels of no variance, see `channel_variance`.

    Raises:
        ValueError: if only the diagonal was summed.
    """
    if moments.squares.ndim != 2:
        raise ValueError("expected moments with full=True for a covariance matrix")
    mean = moments.total / moments.num_pixels
    products = moments.squares / moments.num_pixels - torch.outer(mean, mean)
    constant = channel_variance(moments) == 0
    return products.masked_fill(constant | constant[:, None], 0.0)
