"""Where detectors fire in an image, and which of them is the strongest at each pixel."""

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


def strongest(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The detector of the highest logit at each pixel of an image, among those that fire there.

    So each region lies within its detector's `firing`, and all regions together are all of these masks
    together. One detector is upsampled at a time, as an image may be large. Of equals the first counts.

    Args:
        logits: `(n, h, w)` of the layer's pixels.
        size: H and W of the image.

    Returns:
        `(H, W)` int64, in 0...n-1, -1 where none fires.

    Example:
        >>> strongest(torch.tensor([[[1.0, -1.0, -1.0]], [[2.0, 2.0, -1.0]]]), (1, 3)).tolist()
        [[1, 1, -1]]
    """
    best = torch.zeros(size, dtype=logits.dtype, device=logits.device)
    found = torch.full(size, -1, device=logits.device)
    for place, each in enumerate(logits):
        if bool((each > 0).any()):  # upsampling exceeds no maximum
            here = upsample(each[None], size)[0]
            found = torch.where(here > best, place, found)
            best = torch.maximum(best, here)
    return found
