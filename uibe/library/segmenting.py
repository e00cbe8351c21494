"""The strongest detector of each pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.functional.bilinear import upsample
from uibe.library.results import Segmentation

__all__ = ["segmentation"]


def segmentation(
    scores: Tensor, size: tuple[int, int], kept: Sequence[int], names: Sequence[str]
) -> Segmentation:
    """The detector of the highest score at each pixel of an image, among those that fire there.

    Args:
        scores: `(I, H, W)` in [0, 1], of the layer's pixels.
        size: height and width of the image.
        kept: numbers of the detectors that count.
        names: of the I detectors.

    Example:
        >>> scores = torch.tensor([0.9, 0.7, 0.2]).view(3, 1, 1).expand(3, 2, 2)
        >>> segmentation(scores, (4, 4), [1, 2], ["a", "b", "c"])
        Segmentation(4 x 4: b 100%, nothing 0%)
    """
    logits = torch.logit(scores[list(kept)].double(), eps=1e-12)
    best = torch.zeros(size, dtype=logits.dtype, device=logits.device)
    strongest = torch.full(best.shape, -1, device=best.device)
    for number, each in zip(kept, logits, strict=True):
        if bool((each > 0).any()):
            here = upsample(each[None], size)[0]
            strongest = torch.where(here > best, number, strongest)
            best = torch.maximum(best, here)
    occurring = [number for number in torch.unique(strongest).tolist() if number >= 0]
    return Segmentation(strongest.cpu(), {number: names[number] for number in occurring})
