"""Peers that nothing is optimized for: the channels themselves, a random rotation, principal axes."""

import torch
from torch import Tensor

from uibe.functional.moments import covariance
from uibe.functional.orthogonal import random_rotation
from uibe.modules.standardizer import check_moments
from uibe.peers.interface import Features, Peer
from uibe.peers.sample import pixel_blocks, sum_moments
from uibe.peers.signs import towards_positive_skewness, unit_rows

__all__ = ["natural", "pca", "random"]


def natural(data: Features, seed: int = 0, progress: bool = False) -> Peer:
    """The channels, `W = I`: Network Dissection's units (method.md section 5).

    Args:
        data: features; only their width counts.
        seed: without effect, as are pixels.
        progress: without effect.

    Example:
        >>> class Ones:
        ...     num_pixels = lambda self, split: 4
        ...     feature_batches = lambda self, split: [torch.ones(1, 3, 2, 2)]
        >>> natural(Ones())
        Peer(directions=tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]]), num_pixels=0)
    """
    del seed, progress
    first = _first_batch(data)
    return Peer(torch.eye(first.shape[1], device=first.device), 0)


def random(data: Features, seed: int = 0, progress: bool = False) -> Peer:
    """A rotation drawn uniformly by the seed (method.md section 5).

    Args:
        data: features; only their width counts.
        seed: of the draw.
        progress: without effect.

    Example:
        >>> class Ones:
        ...     num_pixels = lambda self, split: 4
        ...     feature_batches = lambda self, split: [torch.ones(1, 3, 2, 2)]
        >>> random(Ones(), seed=1).directions.shape
        torch.Size([3, 3])
    """
    del progress
    first = _first_batch(data)
    drawn = random_rotation(first.shape[1], torch.Generator().manual_seed(seed))
    return Peer(unit_rows(drawn).to(first.device), 0)


def pca(data: Features, seed: int = 0, progress: bool = False) -> Peer:
    """Principal axes of all train pixels, in falling order of variance, towards positive skewness.

    Eigenvectors of the covariance in float64; a second pass over the pixels settles their signs.

    Args:
        data: features.
        seed: without effect: nothing is drawn.
        progress: whether to show bars.

    Raises:
        DataError: if there are not as many pixels as the features say, or they are constant or not finite.

    Example:
        >>> class Tail:
        ...     num_pixels = lambda self, split: 4
        ...     feature_batches = lambda self, split: [torch.tensor([[[[0.0, 0, 0, -4]], [[1.0, 0, 0, 0]]]])]
        >>> pca(Tail()).directions[0].round(decimals=1)
        tensor([-1.0000, -0.1000])
    """
    del seed
    moments = sum_moments(pixel_blocks(data, progress=progress), full=True)
    check_moments(moments)
    axes = unit_rows(torch.linalg.eigh(covariance(moments))[1].T.flip(0))
    mean = moments.total / moments.num_pixels
    blocks = pixel_blocks(data, progress=progress)
    return Peer(towards_positive_skewness(axes, blocks, mean), int(moments.num_pixels))


def _first_batch(data: Features) -> Tensor:
    return next(iter(data.feature_batches("train")))
