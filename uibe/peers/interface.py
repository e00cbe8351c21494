"""What every peer takes and gives."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Features", "Peer"]


class Features(Protocol):
    """Features of the split `train`, readable any number of times, always in the same order."""

    def num_pixels(self, split: str) -> int:
        """Number of feature pixels of a split."""

    def feature_batches(self, split: str) -> Iterable[Tensor]:
        """`(N, D, H, W)` batches."""


class Peer(NamedTuple):
    """Directions in raw feature space: what a peer found, before any thresholds.

    Attributes:
        directions: `(I, D)` float32, rows of unit norm, on the device of the features.
        num_pixels: how many train pixels it was fitted on; 0 if it looks at none.
    """

    directions: Tensor
    num_pixels: int
