"""What all commands need: the data of a checkpoint, and where to compute."""

from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from datamodules import (
    BrodenDataModule,
    FeatureDataModule,
    ImageFolderDataModule,
    StreamingBrodenDataModule,
    SyntheticDataModule,
)
from lightning_modules.checkpoint import hyper_parameters
from uibe.data.broden import BrodenDataset, image_fingerprint, label_fingerprint
from uibe.data.facts import root_name
from uibe.data.features import FeatureStore
from uibe.data.shards import is_sharded
from uibe.errors import ConfigError, DataError
from uibe.modules.backbone import Backbone

__all__ = ["DataOptions", "device_of", "fingerprints", "groups_document", "learned_on", "open_data"]

DATA_MODULES: dict[str, type[FeatureDataModule]] = {
    cls.__name__: cls
    for cls in (BrodenDataModule, ImageFolderDataModule, StreamingBrodenDataModule, SyntheticDataModule)
}


@dataclass
class DataOptions:
    """Where the data is, if not where it was in training.

    Args:
        root: folder in Broden's format, or folder or URL of its shards, to score on, whatever the basis was
            learned on.
        cache_dir: folder of the feature caches.
        batch_size: images a batch.
        num_workers: processes that read images and labels.
        group_by: regular expression that finds the group of each image in its path, see the data modules; an
            empty one takes each image by itself.
    """

    root: str | None = None
    cache_dir: str | None = None
    batch_size: int | None = None
    num_workers: int | None = None
    group_by: str | None = None


def device_of(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ConfigError: if it cannot be used here.
    """
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device: {name!r} cannot be used here ({reason}); try cpu") from error


def open_data(checkpoint: dict[str, Any], overrides: DataOptions, backbone: Backbone) -> FeatureDataModule:
    """The checkpoint's data module, opened: its `features` are labelled.

    Raises:
        ConfigError: if there are no labels, or the data module is none of this project.
        DataError: if the data cannot be read, or is not where it was in training.
    """
    options = hyper_parameters(checkpoint, "datamodule_hyper_parameters")
    options.update({name: value for name, value in asdict(overrides).items() if value is not None})
    for name in ("download", "url"):  # an evaluation fetches nothing: a folder that is gone may be elsewhere
        options.pop(name, None)
    name = checkpoint["uibe"]["datamodule"]
    if overrides.root is not None:  # may hold any data in Broden's format, as rendered sets are too
        chosen = StreamingBrodenDataModule if is_sharded(overrides.root) else BrodenDataModule
        name = chosen.__name__
        known = {*signature(FeatureDataModule).parameters, *signature(chosen).parameters}
        options = {key: value for key, value in options.items() if key in known}
    elif name == "ImageFolderDataModule":
        raise ConfigError("data.root: learned on images without labels; give a folder in Broden's format")
    elif name in (BrodenDataModule.__name__, StreamingBrodenDataModule.__name__):
        _check_there(str(options.get("root")))
    if name not in DATA_MODULES:
        raise ConfigError(f"checkpoint: data module {name!r} is not one of {', '.join(DATA_MODULES)}")
    datamodule = DATA_MODULES[name](**options)
    datamodule.prepare_data()
    datamodule.open(backbone)
    return datamodule


def _check_there(root: str) -> None:
    """Say what to do if the checkpoint's data is not where it was."""
    if "://" in root or Path(root).exists():
        return
    seen = "" if Path(root).is_absolute() else " from the folder in which it was trained"
    raise DataError(f"{root}: no such folder; it is the checkpoint's data root{seen}; give --data.root")


def learned_on(checkpoint: dict[str, Any]) -> str:
    """Name of the folder of a checkpoint's own data, and the data module that read it."""
    root = hyper_parameters(checkpoint, "datamodule_hyper_parameters").get("root")
    module = str(checkpoint["uibe"]["datamodule"])
    return f"{root_name(root)} ({module})" if isinstance(root, str) and root else module


def groups_document(store: FeatureStore) -> dict[str, Any] | None:
    """How the bootstrap draws validation images, plain types only; None for each by itself."""
    return None if store.grouping is None else store.grouping._asdict()


def fingerprints(store: FeatureStore) -> dict[str, str]:
    """Digests of the images and of the labels."""
    images = store.images
    if not isinstance(images, BrodenDataset):
        return {}
    return {"images": image_fingerprint(images.index), "labels": label_fingerprint(images.index)}
