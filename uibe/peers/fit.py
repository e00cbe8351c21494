"""Peers by name."""

from typing import Literal, Protocol, get_args

from uibe.errors import ConfigError, DataError
from uibe.peers.closed_form import natural, pca, random
from uibe.peers.interface import Features, Peer
from uibe.peers.learned import ica, kmeans, nmf
from uibe.peers.sae import sae

__all__ = ["PEERS", "PeerName", "fit_peer"]

PeerName = Literal["natural", "random", "pca", "ica", "nmf", "kmeans", "sae"]
PEERS: tuple[PeerName, ...] = get_args(PeerName)


class _Fit(Protocol):
    def __call__(self, data: Features, seed: int = 0, progress: bool = False) -> Peer: ...


_FITS: dict[PeerName, _Fit] = {
    "natural": natural,
    "random": random,
    "pca": pca,
    "ica": ica,
    "nmf": nmf,
    "kmeans": kmeans,
    "sae": sae,
}


def fit_peer(name: PeerName, data: Features, seed: int = 0, progress: bool = False) -> Peer:
    """Fit a peer with its defaults; its own function takes more options.

    Args:
        name: one of `PEERS`.
        data: features.
        seed: of all that is drawn, at least 0.
        progress: whether to show bars.

    Raises:
        ConfigError: if there is no such peer, or the seed is negative.
        DataError: if the features cannot be fitted, or no direction is found.

    Example:
        >>> class Ones:
        ...     num_pixels = lambda self, split: 4
        ...     feature_batches = lambda self, split: [torch.ones(1, 3, 2, 2)]
        >>> import torch
        >>> [fit_peer(name, Ones()).directions.shape for name in ("natural", "random")]
        [torch.Size([3, 3]), torch.Size([3, 3])]
    """
    if name not in _FITS:
        raise ConfigError(f"peer: expected one of {', '.join(PEERS)}, got {name!r}")
    if seed < 0:
        raise ConfigError(f"seed: expected at least 0, got {seed}")
    peer = _FITS[name](data, seed, progress)
    if not len(peer.directions) or not bool(peer.directions.isfinite().all()):
        raise DataError(f"features: {name} found no directions in them: are they of any usual size?")
    return peer
