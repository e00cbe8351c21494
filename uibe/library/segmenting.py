"""The concept of each pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.functional.regions import strongest
from uibe.library.results import Segmentation

__all__ = ["segmentation"]


def segmentation(
    logits: Tensor, size: tuple[int, int], kept: Sequence[int], names: Sequence[str]
) -> Segmentation:
    """The detector of the highest logit at each pixel of an image, among those that fire there.

    Args:
        logits: `(I, H, W)` of the layer's pixels, positive where a detector fires.
        size: height and width of the image.
        kept: numbers of the detectors that count.
        names: of the I detectors.

    Example:
        >>> logits = torch.tensor([3.0, 1.0, -2.0]).view(3, 1, 1).expand(3, 2, 2)
        >>> segmentation(logits, (4, 4), [1, 2], ["a", "b", "c"])
        Segmentation(4 x 4: b 100%, nothing 0%)
    """
    numbers = torch.tensor([*kept, -1], device=logits.device)  # the last is found by the place -1
    directions = numbers[strongest(logits[list(kept)], size)]
    occurring = [number for number in torch.unique(directions).tolist() if number >= 0]
    return Segmentation(directions.cpu(), {number: names[number] for number in occurring})
