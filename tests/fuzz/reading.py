"""A folder in Broden's format read as training and dissection do, and compared with the oracle."""

from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules import BrodenDataModule
from datamodules.features import FeatureDataModule
from tests.fuzz.folders import write_folder
from tests.fuzz.harness import Wrong
from tests.fuzz.oracle import OracleRow, OracleSet, files_of, picture, read_set, read_table
from tests.references.tally import ImageTruth, tally
from uibe.data.broden import BrodenDataset
from uibe.data.features import FeatureStore
from uibe.errors import DataError
from uibe.functional.detectors import Detectors, projection_maps
from uibe.metrics.tallies import tally_split
from uibe.modules.backbone import Backbone

__all__ = ["Reader", "backbone"]

_SIZE = 12
_DETECTORS = 3
_NEAR = 1e-5  # to a threshold: rounding may decide either way there


def backbone() -> Backbone:
    """The first stage of the shipped network, at 6 x 6 positions."""
    return Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.0", image_size=_SIZE)


class Reader:
    """Reads folders with one backbone and one set of detectors.

    Args:
        scratch: for a sound folder, whose features the thresholds are taken from.
    """

    def __init__(self, scratch: Path) -> None:
        self.backbone = backbone()
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(_DETECTORS, self.backbone.num_features, generator=generator)
        self.sound = write_folder(scratch / "sound")
        store = self.open(BrodenDataModule(root=str(self.sound), cache=False))
        [features, *_] = store.feature_batches("train")
        maps = projection_maps(features, directions).transpose(0, 1).flatten(1)
        self.detectors = Detectors(directions, maps.quantile(0.8, dim=1))

    def open(self, data: FeatureDataModule) -> FeatureStore:
        """The features of a data module, as training opens them."""
        data.prepare_data()
        return data.open(self.backbone)

    def judge(self, root: Path, draw: Random) -> None:
        """Read a folder in one of the ways there are, and compare."""
        options: dict[str, Any] = {"root": str(root), "batch_size": draw.choice([1, 3, 64])}
        cached = draw.random() < 0.7
        data = BrodenDataModule(**options, cache=cached, cache_dir=str(root.parent / f"{root.name}-cache"))
        self.compare(self.open(data), root)

    def judge_skipping(self, root: Path, draw: Random) -> None:
        """Read a folder without its damaged rows; those whose files are as they were must all be there."""
        options: dict[str, Any] = {"root": str(root), "batch_size": draw.choice([1, 3, 64])}
        options |= {"cache": draw.random() < 0.7, "cache_dir": str(root.parent / f"{root.name}-cache")}
        intact = self._intact(root)
        try:
            store = self.open(BrodenDataModule(damaged="skip", **options))
        except DataError as error:
            if {"train", "val"} <= set(intact.values()):
                raise Wrong(f"has sound rows of both splits, but: {error}") from error
            raise
        images = store.images
        kept = {row.line - 2 for row in images.index.rows} if isinstance(images, BrodenDataset) else set()
        if not kept >= intact.keys():
            raise Wrong(f"sound rows were skipped: {sorted(intact.keys() - kept)}")
        self.compare(store, root, kept)

    def _intact(self, root: Path) -> dict[int, str]:
        """Splits by number of the rows that name nothing but files with the content of sound ones."""
        sound = {path.read_bytes() for path in self.sound.rglob("images/*/*")}
        return {
            number: row["split"]
            for number, row in enumerate(read_table(root / "index.csv"))
            if all(path.is_file() and path.read_bytes() in sound for path in files_of(root / "images", row))
        }

    def compare(self, store: FeatureStore, root: Path, kept: Collection[int] | None = None) -> None:
        """Features and counts against those of the oracle.

        Args:
            store: what was read.
            root: the folder.
            kept: rows of the index that must have been read; by default as many as were, which are then all.

        Raises:
            Wrong: they differ.
        """
        images = store.images
        if not isinstance(images, BrodenDataset):
            raise Wrong("no labels")
        truth = read_set(root, range(len(images.index.rows)) if kept is None else kept)
        names = [row.image.relative_to(root / "images").as_posix() for row in truth.rows]
        _same("rows", [row.image for row in images.index.rows], names)
        table = images.index.labels
        _same("names", list(table.names), truth.names)
        _same("categories", list(table.categories), truth.categories)
        _same("category", table.category.tolist(), truth.category)
        for split in ("train", "val"):
            self._compare_split(store, split, truth)

    def _compare_split(self, store: FeatureStore, split: str, truth: OracleSet) -> None:
        rows = [row for row in truth.rows if row.split == split]
        features = torch.cat(list(store.feature_batches(split)))
        expected = torch.cat([self._features(row) for row in rows])
        if features.shape != expected.shape or not torch.allclose(features, expected, rtol=1e-4, atol=1e-4):
            raise Wrong(f"{split}: other features")
        found = tally_split({"x": self.detectors}, store, split)["x"].counts()
        maps = projection_maps(features, self.detectors.directions).numpy()
        truths = [
            ImageTruth(image, row.planes, row.image_wide, row.annotated)
            for image, row in zip(maps, rows, strict=True)
        ]
        thresholds = self.detectors.thresholds.numpy()
        least, most = (
            tally(truths, [*(thresholds + shift)], truth.category, "annotated") for shift in (_NEAR, -_NEAR)
        )
        for name, low, high, count in zip(("inter", "act", "label"), least, most, found, strict=False):
            if not ((low <= count.numpy()) & (count.numpy() <= high)).all():
                raise Wrong(
                    f"{split}: {name} is {count.tolist()}, expected {low.tolist()} to {high.tolist()}"
                )

    def _features(self, row: OracleRow) -> Tensor:
        preprocessing = self.backbone.preprocessing
        small = picture(row.image).resize((_SIZE, _SIZE), 2)  # bilinear
        values = np.asarray(small, np.float32) / 255
        mean, std = (np.asarray(each, np.float32) for each in (preprocessing.mean, preprocessing.std))
        inputs = torch.from_numpy((values - mean) / std).permute(2, 0, 1)[None]
        return self.backbone.features(inputs)


def _same(what: str, found: list[Any], expected: list[Any]) -> None:
    if found != expected:
        raise Wrong(f"{what}: {found}, expected {expected}")
