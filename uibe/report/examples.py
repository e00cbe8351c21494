"""Images in which detectors respond most strongly, and which detectors to show."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import projection_maps
from uibe.metrics.dissection import Dissection

__all__ = ["Examples", "image_responses", "strongest_images", "strongest_of_each_label"]

_PROJECTIONS = 64 * 2**20  # bytes of projections to hold at once


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
    for features in (part for batch in batches for part in _parts(batch, len(directions))):
        maps = projection_maps(features, directions).transpose(0, 1)
        positions = torch.arange(seen, seen + len(features), device=maps.device).expand(len(directions), -1)
        seen += len(features)
        found = _first(Examples(positions, maps), count)
        if best is not None:
            both = zip(best, found, strict=True)
            found = _first(Examples(*(torch.cat(each, 1) for each in both)), count)
        best = found
    if best is None:
        raise ValueError("expected at least one batch of features, got none")
    return best


def _first(examples: Examples, count: int) -> Examples:
    peaks = examples.maps.flatten(2).amax(2)
    order = peaks.argsort(dim=1, descending=True, stable=True)[:, :count]
    index = order[:, :, None, None].expand(-1, -1, *examples.maps.shape[2:])
    return Examples(examples.positions.gather(1, order), examples.maps.gather(1, index))


def _parts(features: Tensor, directions: int) -> tuple[Tensor, ...]:
    """A batch in parts whose projections fit the memory set aside for them."""
    image = directions * features[0, 0].numel() * features.element_size() if len(features) else 1
    return torch.split(features, max(1, _PROJECTIONS // image))


def image_responses(batches: Iterable[Tensor], directions: Tensor) -> Tensor:
    """The largest projection in each image, `(n, N)` for `(n, D)` directions and N images.

    Args:
        batches: `(N, D, H, W)` features, which together make up the images.
        directions: `(n, D)`.

    Example:
        >>> image_responses([torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)], torch.tensor([[2.0]])).tolist()
        [[6.0]]
    """
    return torch.cat([projection_maps(features, directions).flatten(2).amax(2).T for features in batches], 1)


def strongest_of_each_label(result: Dissection) -> Tensor:
    """Detectors `(I,)` in the order to show them: the best of each label, then the rest, by falling IoU."""
    order = result.iou_val.argsort(descending=True, stable=True)
    leaders: dict[int, int] = {}
    for position, label in enumerate(result.labels[order].tolist()):
        leaders.setdefault(label, position)
    leads = torch.zeros(len(order), dtype=torch.bool)
    leads[list(leaders.values())] = True
    return torch.cat([order[leads], order[~leads]])
