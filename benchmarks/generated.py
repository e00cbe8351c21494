"""A generated feature cache with a labelled data set in Broden's format, of any size; no images.

Features look like those behind a last ReLU: of low rank, mostly zero, alike within an image. Masks are real
files in Broden's format, drawn from a few hundred that all images share.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uibe.data.broden import BrodenDataset
from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.features import FeatureStore
from uibe.data.index import BrodenIndex
from uibe.modules.backbone import Backbone

__all__ = ["generate", "open_store"]

CONCEPTS = {"color": 11, "object": 584, "part": 234, "material": 32, "scene": 468, "texture": 47}  # as Broden
MASKED = ("color", "object", "part", "material")
MASKS, MASK_SIZE, OBJECTS = 128, 112, 8
CHUNK, RANK = 256, 64


def generate(folder: Path, images: int, dim: int, size: int, dtype: str) -> None:
    """Write the data set and its feature cache below a folder.

    Args:
        folder: created; a data set that is there already is kept.
        images: N, of which seven in ten are the train split.
        dim: D.
        size: H and W.
        dtype: of the cache.
    """
    if not (folder / "index.csv").is_file():
        (folder / "images").mkdir(parents=True)
        ranges = _write_labels(folder)
        _write_masks(folder / "images", ranges)
        _write_index(folder / "index.csv", images, ranges)
    fill(folder / "cache", _key(images, dtype), images, _features(images, dim, size))


def open_store(folder: Path, backbone: Backbone, dtype: str, most: int | None = None) -> FeatureStore:
    """What `generate` wrote.

    Args:
        folder: where it was written.
        backbone: whose layer has the features' shape.
        dtype: of the cache.
        most: images to have in each split, all by default.
    """
    index = BrodenIndex.read(folder)
    cache = FeatureCache.open(folder / "cache", _key(len(index.rows), dtype))
    splits = {split: index.split_rows(split)[:most] for split in ("train", "val")}
    return FeatureStore(BrodenDataset(index), splits, backbone, cache)


def _key(images: int, dtype: str) -> CacheKey:
    return CacheKey(images=f"{images} generated", dtype=dtype)


def _features(images: int, dim: int, size: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(RANK, dim, generator=generator) / RANK**0.5
    for start in range(0, images, CHUNK):
        count = min(CHUNK, images - start)
        shared = torch.randn(count, 1, 1, RANK, generator=generator)
        own = torch.randn(count, size, size, RANK, generator=generator)
        yield ((shared + own) @ mixing - 1).relu().permute(0, 3, 1, 2)


def _write_labels(folder: Path) -> dict[str, range]:
    """Write category.csv and label.csv; returns the label numbers of each category."""
    ranges: dict[str, range] = {}
    first = 1
    for name, count in CONCEPTS.items():
        ranges[name] = range(first, first + count)
        first += count
    _write_csv(folder / "category.csv", ["name"], [[name] for name in CONCEPTS])
    labels = [[number, f"{name} {number}", f"{name}(1)"] for name in CONCEPTS for number in ranges[name]]
    _write_csv(folder / "label.csv", ["number", "name", "category"], labels)
    return ranges


def _write_masks(folder: Path, ranges: dict[str, range]) -> None:
    """Rectangles of labels over each other; colors cover everything, as in Broden."""
    rng = np.random.default_rng(0)
    for name in MASKED:
        for k in range(MASKS):
            numbers = np.full((MASK_SIZE, MASK_SIZE), rng.choice(ranges[name]) if name == "color" else 0)
            for label in rng.choice(ranges[name], OBJECTS):
                top, left = rng.integers(0, MASK_SIZE - 16, 2)
                height, width = rng.integers(8, 64, 2)
                numbers[top : top + height, left : left + width] = label
            rgb = np.stack([numbers % 256, numbers // 256, 0 * numbers], -1).astype(np.uint8)
            Image.fromarray(rgb).save(folder / f"{name}_{k}.png")


def _write_index(path: Path, images: int, ranges: dict[str, range]) -> None:
    """Every image has colors and a scene; half have objects and parts, one in five a texture."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(images):
        masks = {name: f"{name}_{rng.integers(MASKS)}.png" for name in MASKED}
        if i % 2:
            masks.update(object="", part="", material="")
        scene = str(rng.choice(ranges["scene"]))
        texture = str(rng.choice(ranges["texture"])) if i % 5 == 0 else ""
        split = "val" if i % 10 in (1, 4, 7) else "train"
        sizes = [2 * MASK_SIZE, 2 * MASK_SIZE, MASK_SIZE, MASK_SIZE]
        rows.append([f"{i:06}.jpg", split, *sizes, *masks.values(), scene, texture])
    _write_csv(path, ["image", "split", "ih", "iw", "sh", "sw", *CONCEPTS], rows)


def _write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
