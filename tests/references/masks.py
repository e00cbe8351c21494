"""Labels under masks, from every pixel of the upsampled maps, one map after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from uibe.functional.label_counts import Labels

__all__ = ["mask_counts"]


def mask_counts(
    maps: Tensor, thresholds: Tensor, images: Sequence[int], labels: Sequence[Labels]
) -> list[list[int]]:
    """For each map the pixels of its mask, and those that carry each of its image's concepts."""
    found = []
    for scores, threshold, image in zip(maps, thresholds, images, strict=True):
        size = labels[image].planes.shape[1:]
        up = F.interpolate(scores[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        mask = up > threshold
        carried = [_carrying(labels[image], concept) for concept in labels[image].concepts.tolist()]
        found.append([int(mask.sum()), *(int((mask & pixels).sum()) for pixels in carried)])
    return found


def _carrying(labels: Labels, concept: int) -> Tensor:
    if concept in labels.image_wide.tolist():
        return torch.ones(labels.planes.shape[1:], dtype=torch.bool)
    return (labels.planes == concept + 1).any(0)
