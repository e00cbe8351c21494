"""Network Dissection's counts from masks that are upsampled in full, float32 like the project's own."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.references.tally import ImageTruth

__all__ = ["tally"]


def tally(
    images: Sequence[ImageTruth], thresholds: Tensor, categories: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """`(I, C)` intersections, `(I, K)` activated, `(C,)` labelled, under the union `annotated`."""
    inter = torch.zeros(len(thresholds), len(categories), dtype=torch.int64)
    act = torch.zeros(len(thresholds), len(images[0].annotated), dtype=torch.int64)
    label = torch.zeros(len(categories), dtype=torch.int64)
    for image in images:
        planes = torch.as_tensor(image.planes)
        maps = torch.as_tensor(image.maps)[:, None]
        up = F.interpolate(maps, size=planes.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        masks = (up > thresholds[:, None, None]) & (maps.amax((1, 2, 3)) > thresholds)[:, None, None]
        act += masks.sum((1, 2))[:, None] * torch.tensor(list(image.annotated)).long()
        for concept in range(len(categories)):
            carried = (planes == concept + 1).any(0) | torch.tensor(concept in image.image_wide)
            inter[:, concept] += (masks & carried).sum((1, 2))
            label[concept] += carried.expand(planes.shape[-2:]).sum()
    return inter, act, label
