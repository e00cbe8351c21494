"""Moments of a stream of pixels as a metric: sums in float64, reduced over processes by addition."""

import torch
from torch import Tensor
from torchmetrics import Metric

from uibe.functional.moments import Moments, pixel_moments

__all__ = ["RunningMoments"]


class RunningMoments(Metric):
    """First and second moments of all pixels seen, over all batches and processes.

    Args:
        num_features: D.
        full: whether to keep products of different channels, as whitening and PCA need.

    Example:
        >>> moments = RunningMoments(2)
        >>> moments.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> moments.compute().total.tolist()
        [4.0, 6.0]
    """

    full_state_update = False
    num_pixels: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, num_features: int, full: bool = False) -> None:
        super().__init__()
        self.full = full
        shape = (num_features, num_features) if full else (num_features,)
        self.add_state("num_pixels", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(num_features, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pixels: Tensor) -> None:
        """Add `(P, D)` pixels."""
        batch = pixel_moments(pixels, self.full)
        self.num_pixels += batch.num_pixels
        self.total += batch.total
        self.squares += batch.squares

    def compute(self) -> Moments:
        """The moments of everything seen."""
        return Moments(self.num_pixels, self.total, self.squares)
