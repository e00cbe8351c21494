"""Labelled features held in memory, written out by hand."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.data.broden import ImageLabels

__all__ = ["FakeConcepts", "FakeFeatures", "Split", "image_labels"]


class FakeConcepts(NamedTuple):
    """Names of C concepts, the category of each, names of K categories."""

    names: Sequence[str]
    category: Tensor
    categories: Sequence[str]


class Split(NamedTuple):
    """`(N, D, H, W)` features and the labels of the N images."""

    features: Tensor
    labels: list[ImageLabels]


class FakeFeatures:
    """Implements `uibe.metrics.tallies.LabelledFeatures`; records its passes."""

    def __init__(
        self,
        concepts: FakeConcepts,
        train: Split,
        val: Split,
        batch_size: int = 2,
        group_of: Tensor | None = None,
    ) -> None:
        self.concepts = concepts
        self.splits = {"train": train, "val": val}
        self.batch_size = batch_size
        self.group_of = group_of
        self.passes: list[str] = []
        self.unlabelled_passes: list[str] = []

    def num_pixels(self, split: str) -> int:
        return self.splits[split].features[:, 0].numel()

    def num_images(self, split: str) -> int:
        return len(self.splits[split].features)

    def first_image(self, split: str) -> int:
        return 0

    def groups(self, split: str) -> Tensor:
        return torch.arange(len(self.splits[split].features)) if self.group_of is None else self.group_of

    def feature_batches(self, split: str) -> Iterator[Tensor]:
        self.unlabelled_passes.append(split)
        yield from self.splits[split].features.split(self.batch_size)

    def labelled_batches(self, split: str) -> Iterator[tuple[Tensor, list[ImageLabels]]]:
        self.passes.append(split)
        features, labels = self.splits[split]
        for start in range(0, len(features), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield features[part], labels[part]


def image_labels(plane: Sequence[Sequence[int]], image_wide: Sequence[int] = ()) -> ImageLabels:
    """One plane of codes, and image-wide concepts; both of two categories are annotated."""
    wide = torch.tensor(image_wide, dtype=torch.int64)
    planes = torch.tensor([plane], dtype=torch.int32)
    concepts = torch.tensor(sorted({*planes[planes > 0].sub(1).tolist(), *image_wide}), dtype=torch.int64)
    return ImageLabels(planes, wide, torch.tensor([True, True]), concepts)
