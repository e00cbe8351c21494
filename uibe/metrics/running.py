"""Moments and means of a stream of pixels as metrics: float64 sums, reduced over processes by addition."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from uibe.functional.moments import Moments, pixel_moments

__all__ = ["RunningMeans", "RunningMoments"]


class RunningMoments(Metric):
    """First and second moments of all pixels seen, over all batches and processes.

    Args:
        num_features: D.
        full: whether to keep products of different channels, as whitening and PCA need.

    Example:
        >>> moments = RunningMoments(2)
        >>> moments.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> moments.moments().total.tolist()
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
        """The moments of everything seen; `moments` gives them in their full shapes."""
        return Moments(self.num_pixels, self.total, self.squares)

    def moments(self) -> Moments:
        """As `compute`, in full shapes: torchmetrics squeezes every tensor of one entry, as of D = 1."""
        found = self.compute()
        return Moments(
            found.num_pixels, found.total.view(self.total.shape), found.squares.view(self.squares.shape)
        )


class RunningMeans(Metric):
    """Pixel-weighted means of several quantities over an epoch, one addition of a vector a step.

    Args:
        names: of the quantities.

    Example:
        >>> means = RunningMeans(["loss", "firing"])
        >>> means.update({"loss": torch.tensor(2.0), "firing": torch.tensor(0.5)}, num_pixels=1)
        >>> means.update({"loss": torch.tensor(4.0), "firing": torch.tensor(0.5)}, num_pixels=3)
        >>> {name: float(mean) for name, mean in means.compute().items()}
        {'loss': 3.5, 'firing': 0.5}
    """

    full_state_update = False
    totals: Tensor
    num_pixels: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.add_state("totals", torch.zeros(len(names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_pixels", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, Tensor], num_pixels: int | Tensor) -> None:
        """Add the values of a batch, each of shape `()`.

        In a distributed run every process adds the same: values and number of the whole batch.

        Raises:
            KeyError: if a quantity is missing.
        """
        self.totals += (
            torch.stack([values[name].detach().to(self.totals) for name in self.names]) * num_pixels
        )
        self.num_pixels += torch.as_tensor(num_pixels).to(self.num_pixels)

    def sums(self) -> dict[str, Tensor]:
        """What was added up so far, for a checkpoint."""
        return {"totals": self.totals.clone(), "num_pixels": self.num_pixels.clone()}

    def go_on(self, sums: dict[str, Tensor] | None) -> None:
        """Forget what was added here, and add to what `sums` gave earlier; None for nothing."""
        self.reset()
        if sums is not None and bool(sums["num_pixels"] > 0):
            self.merge_state(sums)

    def compute(self) -> dict[str, Tensor]:
        """The means, each of shape `()`, NaN before the first batch."""
        means = (self.totals / self.num_pixels).unbind()
        return dict(zip(self.names, means, strict=True))
