"""Train pixels for the peers: all of them in equal blocks, a uniform sample, shuffled batches.

Nothing here depends on how the features are divided into batches, not even in the last bit.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from uibe.errors import ConfigError, DataError
from uibe.functional.detectors import pixels_of
from uibe.functional.moments import Moments, pixel_moments
from uibe.modules.standardizer import check_moments
from uibe.peers.interface import Features

__all__ = ["BLOCK", "pixel_blocks", "sample_pixels", "sample_to_fit", "shuffled_positions", "sum_moments"]

BLOCK = 4096
_SMALLEST, _LARGEST = 1e-15, 1e15  # beyond, sums of squares leave float32


def pixel_blocks(data: Features, size: int = BLOCK, progress: bool = False) -> Iterator[Tensor]:
    """All train pixels in order, in blocks of `size` whatever the batches: sums over them always agree.

    Args:
        data: features.
        size: pixels per block; the last block may be smaller.
        progress: whether to show a bar.

    Yields:
        `(size, D)` float32, contiguous.

    Raises:
        DataError: if there are not as many pixels as the features say, or none.

    Example:
        >>> class Ones:
        ...     num_pixels = lambda self, split: 12
        ...     feature_batches = lambda self, split: torch.ones(3, 8, 2, 2).split(2)
        >>> [tuple(block.shape) for block in pixel_blocks(Ones(), size=5)]
        [(5, 8), (5, 8), (2, 8)]
    """
    total = data.num_pixels("train")
    found, steps = 0, -(-total // size)
    blocks = _blocks(data, size)
    for block in track(blocks, "Reading pixels", total=steps, disable=not progress, transient=True):
        found += len(block)
        yield block
    if found != total or not total:
        raise DataError(f"features: expected {total or 'some'} train pixels, found {found}")


def _blocks(data: Features, size: int) -> Iterator[Tensor]:
    carried: list[Tensor] = []
    for features in data.feature_batches("train"):
        # contiguous, as the order of a product's sums may depend on strides
        pixels = pixels_of(features).float().contiguous()
        *full, last = torch.split(torch.cat([*carried, pixels]), size)
        yield from full
        carried = [last]
    yield from (last for last in carried if len(last))


def sample_pixels(data: Features, num: int, seed: int = 0, progress: bool = False) -> Tensor:
    """A uniform random sample of train pixels without replacement, in one pass.

    Args:
        data: features.
        num: pixels to draw; all of them if there are fewer.
        seed: of the draw, at least 0.
        progress: whether to show a bar.

    Returns:
        `(min(num, P), D)` float32, in the order of the features.

    Raises:
        ConfigError: if `num` is below 1 or the seed below 0.
        DataError: if there are not as many pixels as the features say, or values are not finite.

    Example:
        >>> class Count:
        ...     num_pixels = lambda self, split: 10
        ...     feature_batches = lambda self, split: torch.arange(10.0).view(5, 1, 1, 2).split(2)
        >>> drawn = sample_pixels(Count(), 4)
        >>> drawn.shape, len(drawn.unique()), sample_pixels(Count(), 99).flatten().tolist()[-2:]
        (torch.Size([4, 1]), 4, [8.0, 9.0])
    """
    if num < 1 or seed < 0:
        raise ConfigError(f"expected a positive number of pixels and a seed from 0, got {num} and {seed}")
    positions = _draw(data.num_pixels("train"), num, seed)
    drawn, start = torch.empty(0), 0
    for block in pixel_blocks(data, progress=progress):
        if not start:
            drawn = block.new_empty(len(positions), block.shape[1])
        first, last = (int(each) for each in np.searchsorted(positions, [start, start + len(block)]))
        drawn[first:last] = block[torch.from_numpy(positions[first:last] - start).to(block.device)]
        start += len(block)
    if not bool(drawn.isfinite().all()):
        raise DataError("features: expected finite values, found NaN or infinity: check weights and images")
    return drawn


def sample_to_fit(data: Features, num: int, seed: int = 0, progress: bool = False) -> Tensor:
    """As `sample_pixels`, for what looks for directions, which do not depend on a unit.

    Pixels so small or large that single precision cannot hold their squares are divided by the largest value.

    Raises:
        ConfigError: as `sample_pixels`.
        DataError: as `sample_pixels`, or if the pixels are all alike.

    Example:
        >>> class Huge:
        ...     num_pixels = lambda self, split: 3
        ...     feature_batches = lambda self, split: [1e30 * torch.arange(3.0).view(3, 1, 1, 1)]
        >>> sample_to_fit(Huge(), 3).flatten().tolist()
        [0.0, 0.5, 1.0]
    """
    sample = sample_pixels(data, num, seed, progress)
    check_moments(sum_moments(torch.split(sample, BLOCK)))
    largest = float(torch.stack(sample.aminmax()).abs().amax())
    return sample if _SMALLEST < largest < _LARGEST else sample / largest


def _draw(total: int, num: int, seed: int) -> NDArray[np.int64]:
    if num >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, num, replace=False, shuffle=False))


def sum_moments(blocks: Iterable[Tensor], full: bool = False) -> Moments:
    """Moments of all blocks together.

    Args:
        blocks: `(P, D)` each, at least one.
        full: see `uibe.functional.moments.pixel_moments`.

    Example:
        >>> sum_moments(torch.tensor([[1.0], [2.0], [3.0]]).split(2)).total
        tensor([6.], dtype=torch.float64)
    """
    parts = (pixel_moments(block, full) for block in blocks)
    total = next(parts)
    for part in parts:
        total = Moments(*(left + right for left, right in zip(total, part, strict=True)))
    return total


def shuffled_positions(num: int, size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of positions: one permutation after the other, cut into equal batches.

    Args:
        num: positions are in `[0, num)`.
        size: of a batch; all `num` positions if there are fewer.
        steps: number of batches.
        generator: source of the permutations, on the CPU.

    Yields:
        `(size,)` int64.

    Example:
        >>> batches = list(shuffled_positions(4, 2, steps=4, generator=torch.Generator().manual_seed(0)))
        >>> torch.cat(batches[:2]).sort().values.tolist(), torch.cat(batches[2:]).sort().values.tolist()
        ([0, 1, 2, 3], [0, 1, 2, 3])
    """
    size, order = min(size, num), torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < size:
            order = torch.cat([order, torch.randperm(num, generator=generator)])
        yield order[:size]
        order = order[size:]
