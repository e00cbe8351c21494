"""Bases by name: of checkpoints, of peers that are fitted and kept, of files that others wrote."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from rich.console import Console

from commands.data import fingerprints
from commands.supervised import fit_supervised
from datamodules import FeatureDataModule
from lightning_modules.checkpoint import basis_from
from uibe.data.features import FeatureStore
from uibe.errors import ConfigError, MismatchError
from uibe.metrics.comparison import Basis
from uibe.peers.fit import PEERS, PeerName, fit_peer
from uibe.peers.store import load_detectors, load_peer, save_peer
from uibe.peers.thresholds import learn_thresholds

__all__ = ["BASES", "Fitting", "named_bases"]

SUPERVISED = "supervised"
BASES = (*PEERS, SUPERVISED)
_VERSION = "1"  # of the peers: to be raised when one of them changes, so that kept ones are fitted again


class Fitting(NamedTuple):
    """What peers are fitted on, and how.

    Attributes:
        datamodule: opened.
        options: hyper-parameters of the checkpoint, for the supervised basis's network and layer.
        random_seeds: number of random rotations, called `random 0` and so on.
        seed: of the peers.
        threshold_steps: optimizer steps for thresholds of frozen directions.
        supervised_epochs: of the supervised basis.
    """

    datamodule: FeatureDataModule
    options: dict[str, Any]
    random_seeds: int
    seed: int
    threshold_steps: int
    supervised_epochs: int


def named_bases(
    checkpoints: Mapping[str, dict[str, Any]], names: Sequence[str], fitting: Fitting, console: Console
) -> dict[str, Basis]:
    """All bases of a comparison, those of the checkpoints first.

    Args:
        checkpoints: by path.
        names: of peers, or files.
        fitting: what peers are fitted on, and how.
        console: says which basis it is about.

    Raises:
        ConfigError: if a name is unknown.
        MismatchError: if a file's directions do not fit the layer.
    """
    wanted = _expanded(names, fitting)
    bases = _learned(checkpoints)
    device = next(fitting.datamodule.features.backbone.parameters()).device
    for name, (kind, seed) in wanted.items():
        console.print(f"basis    {name}", markup=False, highlight=False)
        if kind in BASES:
            bases[name] = _fitted(kind, seed, fitting)
        else:
            bases[name] = _from_file(Path(kind), fitting.datamodule.features)
    return {name: _on(basis, device) for name, basis in bases.items()}


def _expanded(names: Sequence[str], fitting: Fitting) -> dict[str, tuple[str, int]]:
    """Kind or file, and seed, by the name of the basis."""
    wanted: dict[str, tuple[str, int]] = {}
    for name in names:
        if name == "random":
            wanted.update({f"random {n}": (name, fitting.seed + n) for n in range(fitting.random_seeds)})
        elif name in BASES:
            wanted[name] = (name, fitting.seed)
        elif name.endswith(".safetensors"):
            short = Path(name).stem
            wanted[short if short not in wanted else name] = (name, fitting.seed)
        else:
            known = ", ".join(BASES)
            raise ConfigError(f"--bases: expected {known} or a file basis.safetensors, got {name!r}")
    return wanted


def _learned(checkpoints: Mapping[str, dict[str, Any]]) -> dict[str, Basis]:
    bases: dict[str, Basis] = {}
    for number, checkpoint in enumerate(checkpoints.values(), 1):
        detectors = basis_from(checkpoint).detectors()
        bases["learned" if number == 1 else f"learned {number}"] = Basis(*detectors)
    return bases


def _fitted(kind: str, seed: int, fitting: Fitting) -> Basis:
    """A basis from its file, if it was fitted before."""
    path = _path(kind, seed, fitting)
    if path is not None and path.is_file():
        return Basis(*load_peer(path))
    if kind == SUPERVISED:
        detectors, num_pixels = fit_supervised(
            fitting.options, fitting.datamodule, fitting.supervised_epochs, seed
        )
    else:
        store = fitting.datamodule.features
        peer = fit_peer(cast("PeerName", kind), store, seed=seed, progress=True)
        detectors = learn_thresholds(peer.directions, store, fitting.threshold_steps, seed, progress=True)
        num_pixels = peer.num_pixels
    if path is not None:
        save_peer(path, *detectors, num_pixels)
    return Basis(*detectors, num_pixels)


def _path(kind: str, seed: int, fitting: Fitting) -> Path | None:
    """Where a fitted basis is kept: named by the features, the train split and how it was fitted."""
    store = fitting.datamodule.features
    if store.cache is None:
        return None
    rows = ",".join(map(str, store.rows("train")))
    parts = [_VERSION, store.cache.path.name, rows, kind, str(seed), str(fitting.threshold_steps)]
    if kind == SUPERVISED:
        options = fitting.datamodule.hparams
        parts += [
            str(fitting.supervised_epochs),
            str(options.passes_per_epoch),
            str(options.pixels_per_batch),
        ]
        parts += [fingerprints(store)["labels"]]
    digest = sha256("\n".join(parts).encode()).hexdigest()[:24]
    return store.cache.path.parent / "peers" / f"{kind}-{digest}.safetensors"


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
