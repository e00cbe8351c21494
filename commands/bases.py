"""Bases by name: of checkpoints, of peers that are fitted and kept, of files that others wrote."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lightning_modules.checkpoint import basis_from
from uibe.data.features import FeatureStore
from uibe.errors import ConfigError, MismatchError
from uibe.metrics.comparison import Basis
from uibe.peers.fit import PEERS, PeerName, fit_peer
from uibe.peers.store import load_detectors, load_peer, save_peer
from uibe.peers.thresholds import learn_thresholds

__all__ = ["named_bases"]


def named_bases(
    checkpoints: Mapping[str, dict[str, Any]],
    names: Sequence[str],
    store: FeatureStore,
    random_seeds: int,
    seed: int,
    threshold_steps: int,
    console: Console,
) -> dict[str, Basis]:
    """All bases of a comparison, those of the checkpoints first.

    Args:
        checkpoints: by path.
        names: of peers, or files.
        store: features to fit on.
        random_seeds: number of random rotations, called `random 0` and so on.
        seed: of the peers.
        threshold_steps: optimizer steps for thresholds of frozen directions.
        console: says which basis it is about.

    Raises:
        ConfigError: if a name is unknown.
        MismatchError: if a file's directions do not fit the layer.
    """
    wanted = _expanded(names, random_seeds, seed)
    bases = _learned(checkpoints)
    device = next(store.backbone.parameters()).device
    for name, (peer, own_seed) in wanted.items():
        console.print(f"basis    {name}", markup=False, highlight=False)
        if peer in PEERS:
            bases[name] = _peer(peer, own_seed, store, threshold_steps)
        else:
            bases[name] = _from_file(Path(peer), store)
    return {name: _on(basis, device) for name, basis in bases.items()}


def _expanded(names: Sequence[str], random_seeds: int, seed: int) -> dict[str, tuple[str, int]]:
    """Peer or file, and its seed, by the name of the basis."""
    wanted: dict[str, tuple[str, int]] = {}
    for name in names:
        if name == "random":
            wanted.update({f"random {n}": (name, seed + n) for n in range(random_seeds)})
        elif name in PEERS:
            wanted[name] = (name, seed)
        elif name.endswith(".safetensors"):
            short = Path(name).stem
            wanted[short if short not in wanted else name] = (name, seed)
        else:
            raise ConfigError(
                f"--bases: expected {', '.join(PEERS)} or a file basis.safetensors, got {name!r}"
            )
    return wanted


def _learned(checkpoints: Mapping[str, dict[str, Any]]) -> dict[str, Basis]:
    bases: dict[str, Basis] = {}
    for number, checkpoint in enumerate(checkpoints.values(), 1):
        detectors = basis_from(checkpoint).detectors()
        bases["learned" if number == 1 else f"learned {number}"] = Basis(*detectors)
    return bases


def _peer(name: PeerName, seed: int, store: FeatureStore, threshold_steps: int) -> Basis:
    """A peer with thresholds by UIBE's objective, from its file if it was fitted before."""
    path = _path(name, seed, store, threshold_steps)
    if path is not None and path.is_file():
        return Basis(*load_peer(path))
    peer = fit_peer(name, store, seed=seed, progress=True)
    thresholds = learn_thresholds(peer.directions, store, threshold_steps, seed, progress=True).thresholds
    if path is not None:
        save_peer(path, peer.directions, thresholds, peer.num_pixels)
    return Basis(peer.directions, thresholds, peer.num_pixels)


def _path(name: str, seed: int, store: FeatureStore, threshold_steps: int) -> Path | None:
    """Where a fitted peer is kept: named by the features, the train split and how it was fitted."""
    if store.cache is None:
        return None
    rows = ",".join(map(str, store.rows("train")))
    parts = [store.cache.path.name, rows, name, str(seed), str(threshold_steps)]
    digest = sha256("\n".join(parts).encode()).hexdigest()[:24]
    return store.cache.path.parent / "peers" / f"{name}-{digest}.safetensors"


def _from_file(path: Path, store: FeatureStore) -> Basis:
    basis = Basis(*load_detectors(path))
    if basis.directions.shape[1] != store.backbone.num_features:
        raise MismatchError(
            f"{path}: directions of {basis.directions.shape[1]} channels; the layer has "
            f"{store.backbone.num_features}: give a basis of this layer"
        )
    return basis


def _on(basis: Basis, device: torch.device) -> Basis:
    thresholds = None if basis.thresholds is None else basis.thresholds.to(device)
    return basis._replace(directions=basis.directions.to(device), thresholds=thresholds)
