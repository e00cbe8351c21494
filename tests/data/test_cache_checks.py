"""Damage of cached features that leaves the files' sizes alone is found when they are read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.pixels import PixelDataset
from uibe.errors import MismatchError

KEY, OTHER = (CacheKey(layer=layer, dtype="float32") for layer in ("a", "b"))
FEATURES = torch.arange(8.0 * 30).view(8, 5, 3, 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of two shards, and another one of the same shape beside it."""
    fill(tmp_path, OTHER, 8, [FEATURES + 1], images_per_shard=4)
    return fill(tmp_path, KEY, 8, [FEATURES], images_per_shard=4).path


def _flip(folder: Path) -> None:
    path = folder / "features-00001.npy"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))


def _swap(folder: Path) -> None:
    one, other = (folder / f"features-0000{number}.npy" for number in (0, 1))
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)


def _foreign(folder: Path) -> None:
    shutil.copy(folder.parent / OTHER.digest / "features-00001.npy", folder / "features-00001.npy")


@pytest.mark.parametrize("damage", [_flip, _swap, _foreign])
@pytest.mark.parametrize("way", ["features", "pixels", "dataset"])
def test_damaged_features_are_named(folder: Path, damage: Callable[[Path], None], way: str) -> None:
    damage(folder)
    cache = FeatureCache.open(folder.parent, KEY)
    read = {
        "features": lambda: cache.features(range(8)),
        "pixels": lambda: cache.pixels(range(48)),
        "dataset": lambda: PixelDataset(cache, range(8))[range(48)],
    }[way]
    with pytest.raises(MismatchError, match=r"features-0000.\.npy: the features of image row \d are damaged"):
        read()


def test_each_image_is_compared_once(folder: Path) -> None:
    cache = FeatureCache.open(folder.parent, KEY)
    cache.features(range(8))
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    _flip(folder)
    for path, time in times.items():
        os.utime(path, ns=(time, time))  # otherwise the time of the change would tell
    cache.features(range(8))  # not looked at again
    with pytest.raises(MismatchError, match="damaged"):
        FeatureCache.open(folder.parent, KEY).features(range(8))


def test_another_shape_of_the_same_size_is_refused_when_opened(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "shape": [8, 2, 3, 5]}))
    with pytest.raises(MismatchError, match=r"features-00000\.npy: not of the shape and type"):
        FeatureCache.open(folder.parent, KEY)


def test_caches_of_the_second_format_have_no_checksums_and_still_open(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    sizes = [size - 4 * 4 for size in meta["bytes"]]
    for number, size in enumerate(sizes):
        path = folder / f"features-{number:05d}.npy"
        path.write_bytes(path.read_bytes()[:size])
    (folder / "meta.json").write_text(json.dumps({**meta, "format": 2, "bytes": sizes}))
    assert FeatureCache.open(folder.parent, KEY).features(range(8)).equal(FEATURES)


def test_a_nested_value_does_not_end_in_a_traceback(folder: Path) -> None:
    (folder / "meta.json").write_text("[" * 100_000)
    with pytest.raises(MismatchError, match=r"meta\.json: missing or damaged"):
        FeatureCache.open(folder.parent, KEY)
