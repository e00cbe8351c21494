"""The feature cache: one pass of a frozen network over the images, kept on disk and found by content.

A cache is a folder named by a digest of everything that the features depend on, so another layer or
other weights can never be read by mistake. The array is stored **pixel-major**, (N, H, W, D): the D
values of one pixel are contiguous, as training gathers single pixels while evaluation takes whole images.
"""

import contextlib
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uibe.data.cache_checks import ImageChecks
from uibe.data.cache_folder import DTYPES, META_NAME, CacheKey, Layout, differences, read_meta
from uibe.data.cache_shards import FeaturesOf, write_stream, write_together
from uibe.data.indices import checked_indices
from uibe.data.rows import RowFile, RowFiles, stamp_of
from uibe.errors import ConfigError, MismatchError

__all__ = ["CacheKey", "FeatureCache", "fill", "fill_shards"]


class FeatureCache:
    """Read access to one complete cache; made by `FeatureCache.open` or `fill`.

    Nothing stays open or in memory between calls but four bytes an image, so that an instance can be sent to
    data-loading workers and the largest cache takes no more memory than what was asked for. The features of
    an image are compared with their checksum when a process first reads them.

    Example:
        >>> import tempfile
        >>> key = CacheKey(layer="features.7", dtype="float32")
        >>> features = torch.arange(24.0).view(2, 3, 2, 2)  # (N, D, H, W)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     cache = fill(directory, key, 2, [features])
        ...     cache.features([1]).equal(features[1:])
        ...     cache.pixels(torch.tensor([0, 7]))  # first pixel of image 0, last pixel of image 1
        True
        tensor([[ 0.,  4.,  8.],
                [15., 19., 23.]])
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._shape = layout.shape
        self._checks = ImageChecks(path, layout)
        self._stamps = [stamp_of(path / layout.name(shard)) for shard in range(layout.num_shards)]

    @classmethod
    def exists(cls, directory: str | Path, key: CacheKey) -> bool:
        """Whether `directory` holds a finished cache for `key`; `open` still checks its content."""
        return (Path(directory) / key.digest).is_dir()

    @classmethod
    def open(cls, directory: str | Path, key: CacheKey) -> "FeatureCache":
        """Open the cache of `key` after checking that it carries this key and is complete.

        Args:
            directory: the folder that holds all caches.
            key: what the features must have been made with.

        Raises:
            MismatchError: there is no cache for this key (names the parts in which the closest one
                differs), or its key, meta data or array size is not what it should be.
        """
        path = Path(directory).absolute() / key.digest
        if not path.is_dir():
            raise _missing(path.parent, key)
        found, layout = read_meta(path)
        if found != key:
            differing = ", ".join(differences(found, key))
            raise MismatchError(
                f"{path / META_NAME}: filled with {differing}; delete the folder and fill it again"
            )
        return cls(path, layout)

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.path)!r}, shape (N, H, W, D) = {self._shape}, {self.dtype})"

    @cached_property
    def _files(self) -> RowFiles:
        layout = self._layout
        files = (
            RowFile(self.path / layout.name(shard), layout.start(shard), layout.image_bytes, stamp)
            for shard, stamp in enumerate(self._stamps)
        )
        return RowFiles(tuple(files), layout.images_per_shard)

    @property
    def path(self) -> Path:
        """The cache's own folder."""
        return self._path

    @property
    def num_images(self) -> int:
        """N, the number of images."""
        return self._shape[0]

    @property
    def feature_size(self) -> tuple[int, int]:
        """(H, W) of the feature map."""
        return self._shape[1], self._shape[2]

    @property
    def num_features(self) -> int:
        """D, the number of channels."""
        return self._shape[3]

    @property
    def dtype(self) -> str:
        """Storage type, "float32", "float16" or "bfloat16"; reading always returns float32."""
        return self._layout.dtype

    @property
    def image_bytes(self) -> int:
        """Size of one image's features on disk, bytes."""
        return self._layout.image_bytes

    def empty(self, num_images: int) -> Tensor:
        """Room for the features of n images as they are stored, `(n, H, W, D)` in the storage type."""
        return torch.empty(num_images, *self._shape[1:], dtype=DTYPES[self.dtype])

    def read_into(self, room: Tensor, places: Tensor, rows: Tensor) -> None:
        """Read the images of n rows into n places of what `empty` gave.

        Raises:
            MismatchError: a file is gone, damaged, or was changed since the cache was opened.
        """
        self._files.read_into(room, places, rows)
        self._checks.check(room, places, rows)

    def advise(self, rows: Tensor) -> None:
        """Tell the operating system, where it listens, that these rows will be read soon."""
        self._files.advise(rows)

    def features(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Read whole images.

        Args:
            rows: n image rows, each in [0, N), in any order.

        Returns:
            (n, D, H, W) float32 in channels-last memory, a copy of the stored values.

        Raises:
            MismatchError: a row is outside the cache.
            TypeError: the rows are not a 1-D list of integers.
        """
        index = checked_indices(rows, self.num_images, f"{self.path}: image row")
        images = self.empty(len(index))
        self.read_into(images, torch.arange(len(index)), index)
        return images.to(torch.float32).permute(0, 3, 1, 2)

    def pixels(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Gather single pixels, straight from the disk; `uibe.data.pixels` is the fast way for many.

        Args:
            indices: n pixel indices, each in [0, N * H * W), in any order: row * H * W + y * W + x.

        Returns:
            (n, D) float32, a copy of the stored values.

        Raises:
            MismatchError: an index is outside the cache.
            TypeError: the indices are not a 1-D list of integers.
        """
        area = math.prod(self.feature_size)
        index = checked_indices(indices, self.num_images * area, f"{self.path}: pixel index")
        room, first = self.empty(1), torch.zeros(1, dtype=torch.int64)
        for row in (index // area).unique():  # type: ignore[no-untyped-call]
            if self._checks.unread[row]:
                self.read_into(room, first, row[None])
        pixels = torch.empty(len(index), self.num_features, dtype=DTYPES[self.dtype])
        for file, chosen, image in self._files.parts(index // area):
            with file.opened():
                array = np.load(file.path, mmap_mode="r", allow_pickle=False)
            flat = np.asarray(array).reshape(-1, self.num_features)
            found = np.take(flat, (image * area + index[chosen] % area).numpy(), axis=0)
            pixels[chosen] = torch.from_numpy(found).view(pixels.dtype)
        return pixels.to(torch.float32)


def fill(
    directory: str | Path,
    key: CacheKey,
    num_images: int,
    batches: Iterable[Tensor],
    dtype: str | None = None,
    images_per_shard: int | None = None,
) -> FeatureCache:
    """Store features in one pass and open the cache; a finished cache of the same key is kept and opened.

    If two processes fill the same key at once, the second to finish drops its own folder. If anything
    fails or is interrupted, nothing is left.

    Args:
        directory: the folder that holds all caches; created if absent.
        key: everything that the features depend on; `key["dtype"]` is the storage type.
        num_images: N, how many images the batches hold together.
        batches: features (n, D, H, W) of any floating type and device, in the order of the images; not
            touched if the cache exists.
        dtype: the storage type again, only to have it checked against the key. "float16" halves the
            space; its relative error is at most 2^-11 from 6e-5 to 65504, the largest value it can hold.
            "bfloat16" takes as little; its error is at most 2^-8, over the range of float32.
        images_per_shard: as for `fill_shards`.

    Raises:
        ConfigError: `dtype` contradicts the key.
        DataError: a value is not finite or too large for the dtype (names the first image row and channel),
            the batches differ in size or their images do not add up to N, or the disk is full.
        MismatchError: the cache existed but is damaged or holds another number of images.
    """
    if dtype not in (None, key["dtype"]):
        raise ConfigError(
            f"dtype {dtype!r} contradicts the cache key, which says {key['dtype']!r}: give both alike"
        )
    if not FeatureCache.exists(directory, key):
        write_stream(Path(directory).absolute() / key.digest, key, num_images, batches, images_per_shard)
    return _opened(directory, key, num_images)


def fill_shards(
    directory: str | Path,
    key: CacheKey,
    shape: tuple[int, int, int, int],
    features_of: FeaturesOf,
    images_per_shard: int | None = None,
) -> FeatureCache:
    """Store features by all processes of a distributed run at once, each its own shards, and open the cache.

    Every process must call it. Shards that an earlier call finished before it was killed are kept, in the
    hidden folder `.<digest>.partial`, and not computed again. The content does not depend on the number of
    processes, as long as the features of one image do not depend on those beside it.

    Args:
        directory: the folder that holds all caches; created if absent; the same disk for all processes.
        key: as for `fill`.
        shape: (N, H, W, D).
        features_of: given ranges of image rows, the features (n, D, H, W) of all of them in order; no range
            is longer than a shard. Not called if nothing is missing.
        images_per_shard: by default some 64 shards of a large set, of 1 GB at most; see `Layout.plan`.

    Raises:
        ConfigError: `images_per_shard` is less than 1.
        DataError: as `fill`; another process then ends by an error of its connection.
        MismatchError: as `fill`, or the shards of an earlier call were made with other options.

    Example:
        >>> import tempfile
        >>> key = CacheKey(layer="features.7", dtype="float32")
        >>> images = torch.rand(5, 3, 2, 2)
        >>> def features_of(parts):
        ...     for rows in parts:
        ...         yield images[rows.start : rows.stop]
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     cache = fill_shards(directory, key, (5, 2, 2, 3), features_of, images_per_shard=2)
        ...     cache.features([4]).equal(images[4:])
        True
    """
    layout = Layout.plan(shape, key["dtype"], images_per_shard)
    write_together(Path(directory).absolute() / key.digest, key, layout, features_of)
    return _opened(directory, key, shape[0])


def _opened(directory: str | Path, key: CacheKey, num_images: int) -> FeatureCache:
    cache = FeatureCache.open(directory, key)
    if cache.num_images != num_images:
        raise MismatchError(
            f"{cache.path}: holds {cache.num_images} images, expected {num_images}: "
            "put a fingerprint of the image list into the key, or delete the folder and fill it again"
        )
    return cache


def _missing(directory: Path, key: CacheKey) -> MismatchError:
    """Say in which parts the key differs from the closest cache in the directory, if there is any."""
    others: list[list[str]] = []
    for path in sorted(directory.glob("[!.]*")):
        with contextlib.suppress(MismatchError):
            others.append(differences(read_meta(path)[0], key))
    if not others:
        return MismatchError(f"{directory}: holds no feature cache: fill it first or name another folder")
    closest = min(others, key=len)
    return MismatchError(
        f"{directory}: no feature cache for these options, the closest was filled with {', '.join(closest)}: "
        "fill one for these options or go back to those"
    )
