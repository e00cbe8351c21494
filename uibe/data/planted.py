"""Data with a known answer: sparse codes seen through a rotation that a basis has to find again."""

from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.orthogonal import random_rotation

__all__ = ["Planted", "planted_codes"]


class Planted(NamedTuple):
    """Pixels and the directions that generated them.

    Attributes:
        pixels: `(P, D)` float32.
        directions: `(D, D)` float32, orthonormal rows: direction `i` is what concept `i` adds to a pixel.
    """

    pixels: Tensor
    directions: Tensor


def planted_codes(num_pixels: int, size: int, noise: float, generator: torch.Generator) -> Planted:
    """Draw one-hot-like codes, rotate them, add noise (rotation recovery, method.md section 9).

    Each pixel shows one concept, all equally often, with a strength uniform in [1, 2]; the rotation is
    uniform over all rotations.

    Args:
        num_pixels: P.
        size: D, the number of channels and of concepts.
        noise: standard deviation of the normal noise on every channel.
        generator: source of all randomness, on the CPU.

    Example:
        >>> planted = planted_codes(1000, 4, noise=0.0, generator=torch.Generator().manual_seed(0))
        >>> codes = planted.pixels @ planted.directions.T
        >>> int((codes > 0.5).sum()), bool((codes.abs().sum(1) < 2.001).all())
        (1000, True)
    """
    directions = random_rotation(size, generator, torch.float32)
    concepts = torch.randint(size, (num_pixels,), generator=generator)
    strengths = 1 + torch.rand(num_pixels, 1, generator=generator)
    disturbance = noise * torch.randn(num_pixels, size, generator=generator)
    return Planted(strengths * directions[concepts] + disturbance, directions)
