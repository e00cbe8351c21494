"""Where detectors fire in an image, and which of them is the strongest at each pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.functional.bilinear import upsample

__all__ = ["firing", "strongest"]


def firing(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask of a detector: where its logits, upsampled, are positive.

    Args:
        logits: `(h, w)` of the layer's pixels.
        size: H and W of the image.

    Returns:
        `(H, W)` bool.

    Example:
        >>> firing(torch.tensor([[1.0, -3.0]]), (1, 4)).tolist()
        [[True, False, False, False]]
    """
    return upsample(logits[None], size)[0] > 0


def strongest(logits: Tensor, weights: Sequence[float], size: tuple[int, int]) -> Tensor:
    """The detector of the highest `weight x logit` at each pixel of an image, among those that fire there.

    So each region lies within its detector's `firing`, and the regions together are all of these masks
    together. One detector is upsampled at a time, as an image may be large. Of equals the first counts.

    Args:
        logits: `(n, h, w)` of the layer's pixels.
        weights: n numbers, none negative.
        size: H and W of the image.

    Returns:
        `(H, W)` int64, in 0...n-1, -1 where none fires.

    Example:
        >>> logits = torch.tensor([[[1.0, -1.0]], [[2.0, 2.0]]])
        >>> strongest(logits, [1.0, 1.0], (1, 2)).tolist(), strongest(logits, [3.0, 1.0], (1, 2)).tolist()
        ([[1, 1]], [[0, 1]])
    """
    best = torch.full(size, -1.0, dtype=logits.dtype, device=logits.device)
    found = torch.full(size, -1, device=logits.device)
    for place, (each, weight) in enumerate(zip(logits, weights, strict=True)):
        if bool((each > 0).any()):  # upsampling exceeds no maximum
            here = upsample(each[None], size)[0]
            here = torch.where(here > 0, weight * here, -1.0)
            found = torch.where(here > best, place, found)
            best = torch.maximum(best, here)
    return found
