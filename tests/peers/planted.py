"""Features held in memory, and planted directions that each peer was made to find."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["PixelFeatures", "matched_cosine", "sparse_codes", "unit_directions"]


class PixelFeatures:
    """Implements `uibe.peers.interface.Features` with pixels of images of 2 x 2."""

    def __init__(self, pixels: Tensor, batch_size: int = 64) -> None:
        self.features = pixels.view(-1, 2, 2, pixels.shape[1]).permute(0, 3, 1, 2).contiguous()
        self.batch_size = batch_size

    def num_pixels(self, split: str) -> int:
        assert split == "train"
        return self.features[:, 0].numel()

    def feature_batches(self, split: str) -> Iterator[Tensor]:
        assert split == "train"
        yield from self.features.split(self.batch_size)


def unit_directions(num: int, size: int, generator: torch.Generator) -> Tensor:
    """Random directions, `(num, size)`, neither orthogonal nor aligned with channels."""
    return torch.nn.functional.normalize(torch.randn(num, size, generator=generator), dim=1)


def sparse_codes(num_pixels: int, concepts: int, share: float, generator: torch.Generator) -> Tensor:
    """Zero, or with a probability of `share` a strength in [1, 2]; `(num_pixels, concepts)`."""
    shown = torch.rand(num_pixels, concepts, generator=generator) < share
    return shown * (1 + torch.rand(num_pixels, concepts, generator=generator))


def matched_cosine(found: Tensor, planted: Tensor, signed: bool = False) -> float:
    """Mean cosine, or its magnitude, of planted directions with those they are matched to."""
    cosines = (found.double() @ torch.nn.functional.normalize(planted, dim=1).double().T).numpy()
    cosines = cosines if signed else np.abs(cosines)
    rows, columns = linear_sum_assignment(-cosines)
    return float(cosines[rows, columns].mean())
