"""Common wiring: images, a backbone and a feature cache become training pixels and labelled features."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from uibe.data.broden import BrodenDataset
from uibe.data.extraction import cache_key, fill_cache
from uibe.data.features import FeatureStore
from uibe.data.images import ImageFolderDataset
from uibe.errors import ConfigError
from uibe.modules.backbone import Backbone

__all__ = ["FeatureDataModule"]


class FeatureDataModule(LightningDataModule):
    """Pixels of a layer for training, and labelled features for dissection.

    Args:
        batch_size: images a batch, for the backbone and for dissection; a CPU fills the cache with 8 at once
            at most, as more are slower.
        pixels_per_batch: pixels an optimizer step; 4096 is the paper's.
        passes_per_epoch: how often an epoch goes over all training pixels; more than 1 suits small sets.
        cache: keep features on disk; False runs the backbone in every step.
        cache_dir: folder of the feature caches.
        cache_dtype: `float32`, exact, or half the size: `float16`, or `bfloat16` for values beyond 65504.
        num_workers: processes that read images, or features; as many threads decode images while a cache is
            filled, with 0 one a core. Label masks are decoded in threads.
        shuffle_seed: of the order of pixels.
        shuffle_megabytes: memory for cached features that are shuffled at once; a train split that fits is
            shuffled whole. Each of `num_workers` takes as much.

    Raises:
        ConfigError: if a number is out of range.
    """

    def __init__(
        self,
        batch_size: int = 64,
        pixels_per_batch: int = 4096,
        passes_per_epoch: int = 1,
        cache: bool = True,
        cache_dir: str = "cache",
        cache_dtype: Literal["float32", "float16", "bfloat16"] = "float32",
        num_workers: int = 0,
        shuffle_seed: int = 0,
        shuffle_megabytes: int = 512,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        least = {
            "batch_size": 1,
            "pixels_per_batch": 1,
            "passes_per_epoch": 1,
            "num_workers": 0,
            "shuffle_megabytes": 1,
        }
        for name, bound in least.items():
            if self.hparams[name] < bound:
                raise ConfigError(f"data.{name}: expected at least {bound}, got {self.hparams[name]}")
        self.fingerprint: str | None = None
        self._store: FeatureStore | None = None

    @abstractmethod
    def images(self, backbone: Backbone) -> tuple[BrodenDataset | ImageFolderDataset, str]:
        """All images with the backbone's preprocessing, and a fingerprint of their content."""

    @property
    def features(self) -> FeatureStore:
        """Features and labels by split; there after `open` or `setup`.

        Raises:
            RuntimeError: if the data was not opened.
        """
        if self._store is None:
            raise RuntimeError("call open(backbone) before asking for features")
        return self._store

    def open(self, backbone: Backbone) -> FeatureStore:
        """Read the index and fill or open the feature cache; a second call changes nothing."""
        if self._store is None:
            self._store = self._build(backbone)
        return self._store

    def setup(self, stage: str) -> None:
        """Open the data with the module's backbone."""
        if self.trainer is None:
            raise RuntimeError("setup needs a trainer; call open(backbone) without one")
        # the strategy moves the module only after this hook, and a cache is filled on the backbone's device
        self.open(self.trainer.lightning_module.backbone.to(self.trainer.strategy.root_device))

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Shuffled pixels `(P, D)`, or images `(N, 3, h, w)` without a cache."""
        options = self.hparams
        return self.features.training_loader(
            options.pixels_per_batch,
            options.passes_per_epoch,
            options.shuffle_seed,
            options.shuffle_megabytes * 2**20,
        )

    def _build(self, backbone: Backbone) -> FeatureStore:
        options = self.hparams
        images, self.fingerprint = self.images(backbone)
        store = FeatureStore(
            images,
            _splits(images),
            backbone,
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            group_by=options.get("group_by") or None,
        )
        if store.has_labels:
            store.groups("val")  # what cannot be grouped is said before a cache is filled
        if options.cache:
            key = cache_key(backbone, backbone.layer, self.fingerprint, options.cache_dtype)
            store.cache = fill_cache(
                options.cache_dir, key, images, backbone, options.batch_size, options.num_workers
            )
        return store


def _splits(images: BrodenDataset | ImageFolderDataset) -> Mapping[str, Sequence[int]]:
    if isinstance(images, BrodenDataset):
        return {split: images.index.split_rows(split) for split in ("train", "val")}
    return {"train": range(len(images))}
