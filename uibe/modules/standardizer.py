"""Standardization of features: none, per channel, or whitening; fitted once, folded away at the end."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from uibe.errors import ConfigError, DataError
from uibe.functional.moments import Moments, channel_variance, covariance

__all__ = ["STANDARDIZATIONS", "Standardization", "Standardizer", "check_moments"]

Standardization = Literal["none", "zscore", "whiten"]
STANDARDIZATIONS: tuple[Standardization, ...] = get_args(Standardization)

_RELATIVE_FLOOR = 1e-6
"""A channel (or principal axis) with less than this share of the largest spread carries no signal."""


class Standardizer(nn.Module):
    """`z = (x - mean) transform`, fitted from streamed moments and stored with the basis.

    `none`: mean 0, transform 1. `zscore` (default): each channel to mean 0 and variance 1; a constant
    channel is mapped to 0. `whiten`: ZCA, `transform = C^(-1/2)` with an eigenvalue floor. The papers do
    not spell the standardization out (method.md section 1).

    Args:
        num_features: D.
        kind: `none`, `zscore` or `whiten`.

    Raises:
        ConfigError: if the kind is unknown.

    Example:
        >>> from uibe.functional.moments import pixel_moments
        >>> standardizer = Standardizer(1)
        >>> standardizer.fit(pixel_moments(torch.tensor([[1.0], [5.0]])))
        >>> standardizer(torch.tensor([[1.0], [5.0]])).tolist()
        [[-1.0], [1.0]]
    """

    mean: Tensor
    transform: Tensor
    fitted: Tensor

    def __init__(self, num_features: int, kind: Standardization = "zscore") -> None:
        super().__init__()
        if kind not in STANDARDIZATIONS:
            raise ConfigError(f"standardization: expected one of {', '.join(STANDARDIZATIONS)}, got {kind!r}")
        self.kind = kind
        identity = torch.eye(num_features) if kind == "whiten" else torch.ones(num_features)
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("transform", identity)
        self.register_buffer("fitted", torch.tensor(kind == "none"))

    def forward(self, pixels: Tensor) -> Tensor:
        """Standardize `(P, D)` pixels."""
        if self.transform.ndim == 2:
            return (pixels - self.mean) @ self.transform
        return (pixels - self.mean).mul_(self.transform)

    @torch.no_grad()
    def fit(self, moments: Moments) -> None:
        """Set mean and transform from the moments of all training pixels.

        Raises:
            DataError: if the moments are not finite, or no channel varies.
        """
        check_moments(moments)
        if self.kind == "none":
            return
        variance = channel_variance(moments)
        self.mean.copy_(moments.total / moments.num_pixels)
        self.transform.copy_(
            _inverse_deviation(variance) if self.kind == "zscore" else _zca(covariance(moments))
        )
        self.fitted.fill_(True)


def check_moments(moments: Moments) -> None:
    """Refuse pixels that nothing can be learned from.

    Raises:
        DataError: if the moments are not finite, or no channel varies.

    Example:
        >>> from uibe.functional.moments import pixel_moments
        >>> check_moments(pixel_moments(torch.ones(4, 2)))
        Traceback (most recent call last):
        uibe.errors.DataError: features: every channel is constant over the training pixels: nothing to learn
    """
    variance = channel_variance(moments)
    if not bool(moments.total.isfinite().all() and variance.isfinite().all()):
        raise DataError("features: expected finite values, found NaN or infinity: check weights and images")
    if not bool((variance > 0).any()):
        raise DataError("features: every channel is constant over the training pixels: nothing to learn")


def _inverse_deviation(variance: Tensor) -> Tensor:
    deviation = variance.sqrt()
    alive = deviation > _RELATIVE_FLOOR * deviation.max()
    return torch.where(alive, 1 / deviation, 0.0)


def _zca(cov: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    floored = values.clamp(min=float(values.max()) * _RELATIVE_FLOOR)
    transform: Tensor = (vectors * floored.rsqrt()) @ vectors.T
    return transform
