"""A detector's strongest images without the near duplicates: one frame of a film says as much as six."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from uibe.report.examples import Examples, strongest_images

__all__ = ["ALIKE", "distinct_images", "look"]

ALIKE = 0.9
"""Correlation of two images' `look` above which they count as near duplicates.

On `broden-mini` 3 of 4 pairs of a film's neighbouring frames lie above it, and 1 of 1000 other pairs.
"""

_CANDIDATES = 10  # times the images wanted
_SIDE = 16

Look = NDArray[np.float32]


def distinct_images(
    batches: Iterable[Tensor],
    directions: Tensor,
    thresholds: Tensor,
    count: int,
    image: Callable[[int], Image.Image],
) -> Examples:
    """Find each detector's strongest images, passing over near duplicates of stronger ones.

    The choice is among the `10 count` strongest: first images in which the detector fires and that look like
    none chosen before, then near duplicates in which it fires, then the others likewise. So a detector of a
    single scene still gets `count` images, and chance has no part in it.

    Args:
        batches: `(N, D, H, W)` features.
        directions: `(n, D)`.
        thresholds: `(n,)`; a detector fires strictly above its own.
        count: images a direction; fewer if there are fewer.
        image: the image at a position of the stream; asked for once, where it is needed.

    Returns:
        Those chosen, strongest first.

    Example:
        >>> shades = [Image.linear_gradient("L"), Image.linear_gradient("L"), Image.radial_gradient("L")]
        >>> features = torch.tensor([3.0, 2.0, 1.0]).view(3, 1, 1, 1)
        >>> distinct_images([features], torch.ones(1, 1), torch.zeros(1), 2, shades.__getitem__).positions
        tensor([[0, 2]])
    """
    candidates = strongest_images(batches, directions, _CANDIDATES * count)
    looks = cache(lambda position: look(image(position)))
    fires = (candidates.maps.flatten(2).amax(2).cpu() > thresholds[:, None].cpu()).tolist()
    order = torch.tensor(
        [
            sorted(_chosen([(places[k], firing[k]) for k in range(len(places))], count, looks))
            for places, firing in zip(candidates.positions.tolist(), fires, strict=True)
        ],
        device=candidates.positions.device,
    )
    index = order[:, :, None, None].expand(-1, -1, *candidates.maps.shape[2:])
    return Examples(candidates.positions.gather(1, order), candidates.maps.gather(1, index))


def look(image: Image.Image) -> Look:
    """An image as a small grey one, without its mean and contrast: two of them correlate by their product.

    Example:
        >>> dark, bright = (look(Image.linear_gradient("L").point(lambda x: x * k)) for k in (0.5, 1))
        >>> round(float(dark @ bright), 3)
        1.0
    """
    small = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32).ravel()
    grey: Look = small - small.mean()
    # a flat image has no look, and is a near duplicate of none
    grey /= max(float(np.linalg.norm(grey)), 1e-6)
    return grey


def _chosen(candidates: list[tuple[int, bool]], count: int, looks: Callable[[int], Look]) -> list[int]:
    """Places among candidates, which are strongest first: those of distinct images, then what fills up."""
    kept: list[int] = []
    for place in _by_rank(candidates, kept, looks):
        kept.append(place)
        if len(kept) == count:
            break
    return kept


def _by_rank(
    candidates: list[tuple[int, bool]], kept: list[int], looks: Callable[[int], Look]
) -> Iterator[int]:
    """Firing and distinct from those kept so far, firing, distinct, the rest."""
    for wanted in (True, False):
        repeated = []
        for place, (position, fires) in enumerate(candidates):
            if fires is not wanted:
                continue
            if any(float(looks(position) @ looks(candidates[other][0])) > ALIKE for other in kept):
                repeated.append(place)
            else:
                yield place
        yield from repeated
