"""Features and labels of a set of images at one layer, from a cache or straight from the backbone."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uibe.data.broden import BrodenDataset, ImageLabels
from uibe.data.cache import FeatureCache
from uibe.data.facts import data_facts
from uibe.data.groups import image_groups
from uibe.data.images import ImageFolderDataset
from uibe.data.index import LabelTable
from uibe.data.label_cache import LabelCache
from uibe.data.loading import ResumableLoader
from uibe.data.pixels import DEFAULT_BUDGET, PixelBatchSampler, PixelDataset, RowBatchSampler
from uibe.errors import DataError
from uibe.functional.groups import Grouping
from uibe.functional.processes import rank, world_size
from uibe.modules.backbone import Backbone

__all__ = ["FeatureStore"]

Images = BrodenDataset | ImageFolderDataset


class _ImageRows(Dataset[Tensor]):
    """Transformed images, a whole batch of rows an item."""

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self.images, self.rows = images, rows

    def __getitem__(self, positions: Sequence[int]) -> Tensor:
        return torch.stack([self._image(self.rows[position]) for position in positions])

    def _image(self, row: int) -> Tensor:
        if self.images.transform is None:
            raise TypeError("images need a transform to become tensors")
        return self.images.transform(self.images.image(row))


class _CachedRows(Dataset[Tensor]):
    """Cached features of a batch of rows."""

    def __init__(self, cache: FeatureCache, rows: Sequence[int]) -> None:
        self.cache, self.rows = cache, rows

    def __getitem__(self, positions: Sequence[int]) -> Tensor:
        return self.cache.features([self.rows[position] for position in positions])


class FeatureStore:
    """Features of the splits of a data set, and labels where it has them.

    Implements `uibe.metrics.tallies.LabelledFeatures`. Everything is yielded on the backbone's device. Every
    process of a distributed run reads the whole splits, unless it asks for its `share`.

    Args:
        images: all images, in the order of the cache's rows.
        splits: rows of each split, by name.
        backbone: computes features that are not cached.
        cache: features of all images, or None to run the backbone each time.
        batch_size: images a batch.
        num_workers: processes that read images; labels are decoded in threads.
        group_by: tells groups of images by their paths, see `uibe.data.groups.image_groups`.
    """

    def __init__(
        self,
        images: Images,
        splits: Mapping[str, Sequence[int]],
        backbone: Backbone,
        cache: FeatureCache | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        group_by: str | None = None,
    ) -> None:
        self.images, self.splits, self.backbone, self.cache = images, splits, backbone, cache
        self.batch_size, self.num_workers = batch_size, num_workers
        self.group_by = group_by
        self._rank, self._processes = 0, 1
        self._part: Self | None = None

    def share(self) -> Self:
        """The same features, of which this process of a distributed run reads its own images alone.

        The processes' images follow each other; their numbers differ by one at most. Numbers of images and
        pixels stay those of the whole split. With one process, these are the features themselves.
        """
        if self._part is None:
            self._part = copy(self)  # kept, as it keeps its labels
            self._part._rank, self._part._processes = rank(), world_size()
        return self if world_size() == 1 else self._part

    @property
    def concepts(self) -> LabelTable:
        """The concepts that the labels name.

        Raises:
            DataError: if the images carry no labels.
        """
        return self._labelled().index.labels

    @property
    def has_labels(self) -> bool:
        """Whether the images carry labels."""
        return isinstance(self.images, BrodenDataset)

    def facts(self) -> dict[str, str]:
        """Name, sources, sizes and concepts of the data, for cards and reports."""
        return data_facts(self.images, self.splits)

    def rows(self, split: str) -> Sequence[int]:
        """Rows of a split.

        Raises:
            DataError: if there is no such split.
        """
        if split not in self.splits:
            raise DataError(f"split {split!r}: the data has only {', '.join(self.splits)}")
        return self.splits[split]

    def num_pixels(self, split: str) -> int:
        """Number of feature pixels of a split."""
        height, width = self.backbone.feature_size
        return len(self.rows(split)) * height * width

    def num_images(self, split: str) -> int:
        """Number of images of a split."""
        return len(self.rows(split))

    def first_image(self, split: str) -> int:
        """How many images of a split come before those that are read here."""
        own = torch.arange(len(self.rows(split))).tensor_split(self._processes)[self._rank]
        return int(own[0])

    def groups(self, split: str) -> Tensor:
        """`(N,)` group of each image of a split; every image is one if there is no `group_by`.

        Raises:
            DataError: if `group_by` matches none of them, or puts all into one group.
        """
        rows = self.rows(split)
        if self.group_by is None:
            return torch.arange(len(rows))
        index = self._labelled().index
        where = f"split {split!r} of {index.source.place('index.csv')}"
        return image_groups([index.rows[row].image for row in rows], self.group_by, where)

    @cached_property
    def grouping(self) -> Grouping | None:
        """How validation images are drawn, None for each by itself."""
        return None if self.group_by is None else Grouping.of(self.group_by, self.groups("val"))

    def feature_batches(self, split: str) -> Iterator[Tensor]:
        """`(N, D, H, W)` batches in the order of the rows."""
        for inputs, rows in zip(self._loader(self._inputs(split), split), self._parts(split), strict=True):
            yield self._features(inputs, rows)

    def labelled_batches(self, split: str) -> Iterator[tuple[Tensor, list[ImageLabels]]]:
        """`(N, D, H, W)` batches with the labels of their images."""
        parts = self._parts(split)
        loader = self._loader(self._inputs(split), split)
        for inputs, labels, rows in zip(loader, self._labels.batches(parts), parts, strict=True):
            features = self._features(inputs, rows)
            yield features, [ImageLabels(*(part.to(features.device) for part in each)) for each in labels]

    def training_loader(
        self, pixels_per_batch: int, passes: int, seed: int, budget: int = DEFAULT_BUDGET
    ) -> DataLoader[Tensor]:
        """Shuffled pixels `(P, D)` from the cache, or shuffled images `(N, 3, h, w)` without one.

        Args:
            pixels_per_batch: P, over all processes.
            passes: how often an epoch goes over all pixels.
            seed: of the order.
            budget: bytes of cached features to keep in memory, see `uibe.data.windows`.
        """
        rows = self.rows("train")
        if self.cache is not None:
            pixels = PixelDataset(self.cache, rows, budget)
            sampler = PixelBatchSampler(
                len(pixels),
                pixels_per_batch,
                seed=seed,
                passes=passes,
                windows=pixels.windows,
                ahead=pixels.advise,
                num_replicas=world_size(),
                rank=rank(),
            )
            return self._shuffled(pixels, sampler)
        height, width = self.backbone.feature_size
        images_per_batch = max(1, pixels_per_batch // (height * width))
        windows = self.images.windows(rows) if isinstance(self.images, BrodenDataset) else None
        sampler = PixelBatchSampler(
            len(rows),
            images_per_batch,
            seed=seed,
            passes=passes,
            windows=windows,
            num_replicas=world_size(),
            rank=rank(),
        )
        return self._shuffled(_ImageRows(self.images, rows), sampler)

    def image(self, row: int) -> Image.Image:
        """The decoded image of a row."""
        return self.images.image(row)

    def _shuffled(self, data: Dataset[Tensor], sampler: PixelBatchSampler) -> DataLoader[Tensor]:
        on_gpu = next(self.backbone.parameters()).device.type == "cuda"
        return ResumableLoader(
            data,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            pin_memory=on_gpu,
            generator=torch.Generator(),  # or each pass would draw a number from the global state
        )

    def _inputs(self, split: str) -> Dataset[Tensor]:
        rows = self.rows(split)
        return _CachedRows(self.cache, rows) if self.cache is not None else _ImageRows(self.images, rows)

    def _loader(self, data: Dataset[Any], split: str) -> DataLoader[Any]:
        return DataLoader(
            data,
            batch_size=None,
            sampler=self._sampler(split),
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )

    def _sampler(self, split: str) -> RowBatchSampler:
        rows = range(len(self.rows(split)))
        return RowBatchSampler(rows, self.batch_size, num_replicas=self._processes, rank=self._rank)

    def _parts(self, split: str) -> list[list[int]]:
        """Rows of each batch."""
        rows = self.rows(split)
        return [[rows[position] for position in positions] for positions in self._sampler(split)]

    def _features(self, inputs: Tensor, rows: Sequence[int]) -> Tensor:
        weights = next(self.backbone.parameters())
        if self.cache is not None:
            return inputs.to(weights.device)
        names = [self.images.place(row) for row in rows]
        return self.backbone.finite_features(inputs.to(weights), names).float()  # as a cache would give them

    @cached_property
    def _labels(self) -> LabelCache:
        return LabelCache(self._labelled())

    def _labelled(self) -> BrodenDataset:
        if not isinstance(self.images, BrodenDataset):
            raise DataError(f"{self.images.root}: images without labels; give a data set in Broden's format")
        return self.images
