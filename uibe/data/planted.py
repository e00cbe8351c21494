"""Data with a known answer: sparse codes seen through a rotation that a basis has to find again."""

from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.orthogonal import random_rotation

__all__ = ["Planted", "planted_codes"]

_OTHERS = 2.0
"""Concepts that a pixel shows besides its own, on average."""


class Planted(NamedTuple):
    """Pixels and the directions that generated them.

    Attributes:
        pixels: `(P, D)` float32.
        directions: `(D, D)` float32, orthonormal rows: direction `i` is what concept `i` adds to a pixel.
    """

    pixels: Tensor
    directions: Tensor


def planted_codes(num_pixels: int, size: int, noise: float, generator: torch.Generator) -> Planted:
    """Draw sparse codes, rotate them, add noise (rotation recovery, method.md section 9).

    Each pixel shows one concept, all equally often, and up to two others on average; strengths are uniform
    in [1, 2]. Codes that were *strictly* one-hot would have no unique answer: the mirrored directions
    `e_i - 2 u_i u`, with `u` the normalized sum of any of the axes, separate them by the same gap, and the
    losses of the whole sum's mirror image are lower than those of the axes themselves.

    Args:
        num_pixels: P.
        size: D, the number of channels and of concepts.
        noise: standard deviation of the normal noise on every channel.
        generator: source of all randomness, on the CPU.

    Example:
        >>> planted = planted_codes(1000, 16, noise=0.0, generator=torch.Generator().manual_seed(0))
        >>> codes = planted.pixels @ planted.directions.T  # zero, or a strength in [1, 2]
        >>> shown = (codes > 0.5).sum(1)
        >>> int(shown.min()), 2.5 < float(shown.float().mean()) < 3, bool(codes.max() <= 2.001)
        (1, True, True)
    """
    directions = random_rotation(size, generator, torch.float32)
    shown = torch.rand(num_pixels, size, generator=generator) < _OTHERS / size
    shown.scatter_(1, torch.randint(size, (num_pixels, 1), generator=generator), True)
    codes = shown * (1 + torch.rand(num_pixels, size, generator=generator))
    disturbance = noise * torch.randn(num_pixels, size, generator=generator)
    return Planted(codes @ directions + disturbance, directions)
