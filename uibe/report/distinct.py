"""A detector's strongest images without the near duplicates: one frame of a film says as much as six."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from uibe.report.examples import Examples, strongest_images

__all__ = ["ALIKE", "distinct_images", "looks"]

ALIKE = 0.5
"""Cosine of two images' `looks` above which they count as near duplicates.

On `broden-mini`, 99% of the pairs from different films stay below it at three layers of EfficientNet-Lite0,
and the median frame and its neighbour lie above.
"""

_CANDIDATES = 10  # times the images wanted


def distinct_images(
    batches: Iterable[Tensor], directions: Tensor, thresholds: Tensor, count: int
) -> Examples:
    """Find each detector's strongest images, passing over near duplicates of stronger ones.

    From the `10 count` strongest the choice is, in this order, of images in which the detector fires and that
    look like none chosen before; near duplicates in which it fires; the others likewise. It says nothing that
    depends on chance, and a detector that fires in a single scene still gets `count` images.

    Args:
        batches: `(N, D, H, W)` features.
        directions: `(n, D)`.
        thresholds: `(n,)`; a detector fires strictly above its own.
        count: images a direction; fewer if there are fewer.

    Returns:
        Those chosen, strongest first.

    Example:
        >>> features = torch.tensor([[9.0, 9.0], [8.9, 9.0], [8.0, 0.0], [0.0, 4.0]])
        >>> found = distinct_images([features[:, :, None, None]], torch.eye(2)[:1], torch.zeros(1), count=2)
        >>> found.positions.tolist()  # the second image is the first one again
        [[0, 2]]
    """
    means: list[Tensor] = []

    def watched() -> Iterator[Tensor]:
        for features in batches:
            means.append(features.mean((2, 3), dtype=torch.float64))
            yield features

    candidates = strongest_images(watched(), directions, _CANDIDATES * count)
    seen = looks(torch.cat(means))
    fires = candidates.maps.flatten(2).amax(2) > thresholds[:, None].to(candidates.maps)
    order = torch.stack(
        [_chosen(seen[row], firing, count) for row, firing in zip(candidates.positions, fires, strict=True)]
    )
    index = order[:, :, None, None].expand(-1, -1, *candidates.maps.shape[2:])
    return Examples(candidates.positions.gather(1, order), candidates.maps.gather(1, index))


def looks(means: Tensor) -> Tensor:
    """What images look like to a layer: unit vectors, from features averaged over each image.

    Channels are standardized over the images, so that none outweighs the others.

    Args:
        means: `(N, D)`.

    Example:
        >>> found = looks(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))  # the second channel tells nothing
        >>> found.tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    spread = means.std(0, correction=0)
    return normalize((means - means.mean(0)) / torch.where(spread > 0, spread, 1.0))


def _chosen(seen: Tensor, fires: Tensor, count: int) -> Tensor:
    """Places `(count,)` of the chosen among candidates, which are strongest first."""
    alike = (seen @ seen.T > ALIKE).cpu()
    firing = fires.cpu()
    repeated = torch.ones_like(firing)
    kept: list[int] = []
    for silent in (False, True):
        for place in (firing != silent).nonzero().flatten().tolist():
            if not alike[place, kept].any():
                kept.append(place)
                repeated[place] = False
    rank = 2 * (~firing).int() + repeated.int()
    best = rank.argsort(stable=True)[:count]
    return best.sort().values.to(seen.device)
