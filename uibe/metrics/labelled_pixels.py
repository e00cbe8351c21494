"""Pixels of the train split with what is known of them, to learn supervised detectors from."""

from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import pixels_of
from uibe.functional.pixel_labels import pixel_signs
from uibe.metrics.tallies import LabelledFeatures

__all__ = ["LabelledPixels", "gather_pixels", "image_frequencies"]


class LabelledPixels(NamedTuple):
    """Pixels in memory.

    Attributes:
        pixels: `(P, D)`.
        signs: `(P, I)` int8: 1 positive, 0 negative, -1 neither, see `uibe.functional.pixel_labels`.
    """

    pixels: Tensor
    signs: Tensor


def image_frequencies(data: LabelledFeatures) -> tuple[Tensor, Tensor]:
    """In how many train images each concept has a positive pixel, and a negative one, `(C,)` int64 each.

    Images are what is counted, since the pixels of one image are much alike.
    """
    categories = data.concepts.category
    positive, negative = torch.zeros(2, len(categories), dtype=torch.int64).unbind()
    for features, labels in data.labelled_batches("train"):
        size = (features.shape[2], features.shape[3])
        every = torch.arange(len(categories), device=features.device)
        signs = pixel_signs(labels, size, categories.to(features.device), every)
        signs = signs.view(len(labels), -1, len(categories))
        positive += (signs == 1).any(1).sum(0).cpu()
        negative += (signs == 0).any(1).sum(0).cpu()
    return positive, negative


def gather_pixels(data: LabelledFeatures, concepts: Tensor, limit: int, seed: int) -> LabelledPixels:
    """All train pixels with their signs, on the CPU, or as many of them as allowed, drawn at random.

    Args:
        data: features and labels.
        concepts: `(I,)` int64, the concepts that are asked for.
        limit: most pixels to keep.
        seed: of the draw.
    """
    total = data.num_pixels("train")
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:limit]
    kept, seen, parts = drawn.sort().values, 0, []
    for features, labels in data.labelled_batches("train"):
        pixels = pixels_of(features)
        first, last = torch.searchsorted(kept, torch.tensor([seen, seen + len(pixels)])).tolist()
        own = (kept[first:last] - seen).to(features.device)
        seen += len(pixels)
        device, size = features.device, (features.shape[2], features.shape[3])
        signs = pixel_signs(labels, size, data.concepts.category.to(device), concepts.to(device))
        parts.append(LabelledPixels(pixels[own].cpu(), signs[own].cpu()))
    return LabelledPixels(
        torch.cat([part.pixels for part in parts]), torch.cat([part.signs for part in parts])
    )
