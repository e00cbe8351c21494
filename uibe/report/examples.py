"""Images in which detectors respond most strongly."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import projection_maps

__all__ = ["Examples", "strongest_images"]


class Examples(NamedTuple):
    """For each of n detectors its `count` strongest images, strongest first.

    Attributes:
        positions: `(n, count)` int64, positions of the images in the stream.
        maps: `(n, count, h, w)` projections.
    """

    positions: Tensor
    maps: Tensor


def strongest_images(batches: Iterable[Tensor], directions: Tensor, count: int) -> Examples:
    """Find the images with the largest projection at any pixel; of equal ones the first counts.

    Args:
        batches: `(N, D, H, W)` features.
        directions: `(n, D)`.
        count: images a direction; fewer if there are fewer.

    Example:
        >>> features = torch.tensor([1.0, 3.0, 2.0]).view(3, 1, 1, 1)
        >>> strongest_images([features], torch.tensor([[1.0]]), count=2).positions.tolist()
        [[1, 2]]
    """
    best: Examples | None = None
    seen = 0
    for features in batches:
        maps = projection_maps(features, directions).transpose(0, 1)
        positions = torch.arange(seen, seen + len(features), device=maps.device).expand(len(directions), -1)
        seen += len(features)
        if best is not None:
            positions = torch.cat([best.positions, positions], 1)
            maps = torch.cat([best.maps, maps], 1)
        order = maps.flatten(2).amax(2).argsort(dim=1, descending=True, stable=True)[:, :count]
        index = order[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        best = Examples(positions.gather(1, order), maps.gather(1, index))
    if best is None:
        raise ValueError("expected at least one batch of features, got none")
    return best
