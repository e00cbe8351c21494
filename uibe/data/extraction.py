"""Filling a feature cache: images are decoded in threads while the backbone runs."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from uibe.data.broden import BrodenDataset
from uibe.data.cache import CacheKey, FeatureCache, fill_shards
from uibe.data.images import ImageFolderDataset
from uibe.data.shard_file import UnstorableError
from uibe.data.threads import in_threads
from uibe.errors import DataError
from uibe.functional.processes import rank
from uibe.modules.backbone import Backbone

__all__ = ["cache_key", "decoded", "extract", "fill_cache"]

CPU_BATCH = 8
"""Images that a CPU runs at once, as measured: EfficientNet-Lite0 is fastest at 4 to 8 and takes 1.8 times as
long at 32, ResNet18 is fastest at 8 to 16. The maps of a few images stay in the processor's caches, and below
the size at which glibc returns memory to the system after every layer, to have it zeroed for the next."""

_BATCHES_AHEAD = 2


def cache_key(backbone: Backbone, layer: str, fingerprint: str, dtype: str) -> CacheKey:
    """What the content of a feature cache depends on: weights, layer, preprocessing, images, dtype.

    The memory format is among them, as it decides in which order a convolution adds. The batch size may
    have a say in the last bits too; it is not, as it depends on the device.
    """
    return CacheKey(
        weights=backbone.weights_sha256,
        layer=layer,
        preprocessing=repr(backbone.preprocessing.describe()),
        memory_format=str(backbone.memory_format).removeprefix("torch."),
        images=fingerprint,
        dtype=dtype,
    )


def fill_cache(
    directory: str | Path,
    key: CacheKey,
    images: BrodenDataset | ImageFolderDataset,
    backbone: Backbone,
    batch_size: int,
    threads: int = 0,
    images_per_shard: int | None = None,
) -> FeatureCache:
    """Run the backbone once over all images, unless a cache with this key is there already.

    In a distributed run every process calls it and takes its part of the shards. Batches end where shards do,
    so that no bit depends on the number of processes.

    Args:
        directory: the folder that holds all caches.
        key: see `cache_key`.
        images: what to run it over.
        backbone: computes the features, where it is.
        batch_size: images at once; at most `CPU_BATCH` on a CPU.
        threads: that decode images; 0 for as many as there are cores.
        images_per_shard: by default some 64 shards of a large set, of 1 GB at most.

    Raises:
        DataError: an image cannot be decoded, a feature cannot be stored, or the disk is full.
        MismatchError: the cache is damaged.
    """
    at_once = _images_at_once(backbone, batch_size)

    def features_of(parts: Sequence[range]) -> Generator[Tensor]:
        total = sum(-(-len(part) // at_once) for part in parts)
        with closing(extract(images, backbone, at_once, threads, parts)) as batches:
            yield from track(batches, "features", total, transient=True, disable=rank() > 0)

    shape = (len(images), *backbone.feature_size, backbone.num_features)
    try:
        return fill_shards(directory, key, shape, features_of, images_per_shard)
    except UnstorableError as error:
        raise DataError(f"{images.place(error.row)}: layer {backbone.layer!r}: {error}") from error


def extract(
    images: BrodenDataset | ImageFolderDataset,
    backbone: Backbone,
    batch_size: int,
    threads: int = 0,
    parts: Sequence[range] | None = None,
) -> Generator[Tensor]:
    """Features `(n, D, H, W)` of images in order, for storing: autograd cannot use them.

    Args:
        images: what to run the backbone over.
        backbone: on any device.
        batch_size: n; the last batch of each part may be smaller.
        threads: that decode images; 0 for as many as there are cores.
        parts: which rows of the images; all of them by default.
    """
    device = next(backbone.parameters(), torch.zeros(())).device
    parts = [range(len(images))] if parts is None else parts
    rows = chain.from_iterable(parts)
    with closing(decoded(images, backbone, threads, _BATCHES_AHEAD * batch_size, rows)) as pictures:
        for part in parts:
            for start in range(0, len(part), batch_size):
                batch = list(islice(pictures, len(part[start : start + batch_size])))
                inputs = backbone.preprocessing.standardize(torch.stack(batch).to(device))
                with torch.inference_mode():
                    features = backbone.features(inputs)
                yield features


def decoded(
    images: BrodenDataset | ImageFolderDataset,
    backbone: Backbone,
    threads: int,
    ahead: int,
    rows: Iterable[int] | None = None,
) -> Generator[Tensor]:
    """Images in order, resized for the backbone, as `in_threads` gives them: `(h, w, 3)` uint8."""
    return in_threads(
        lambda row: backbone.preprocessing.resize(images.image(row)),
        range(len(images)) if rows is None else rows,
        threads,
        ahead,
    )


def _images_at_once(backbone: Backbone, batch_size: int) -> int:
    device = next(backbone.parameters(), torch.zeros(())).device
    return min(batch_size, CPU_BATCH) if device.type == "cpu" else batch_size
