"""Numbers of images and pixels, checked before anything is read with them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.errors import MismatchError

__all__ = ["checked_indices", "pixel_indices"]


def pixel_indices(rows: Tensor | Sequence[int], feature_size: tuple[int, int]) -> Tensor:
    """List the pixel indices of some images, image by image: row * H * W + offset.

    Args:
        rows: n image rows, for instance those of the training split.
        feature_size: (H, W) of the feature map.

    Returns:
        (n * H * W,) int64.

    Example:
        >>> pixel_indices([0, 3], (1, 2))
        tensor([0, 1, 6, 7])
    """
    area = feature_size[0] * feature_size[1]
    starts = torch.as_tensor(rows, dtype=torch.int64) * area
    return (starts[:, None] + torch.arange(area)).flatten()


def checked_indices(indices: Tensor | Sequence[int], size: int, what: str) -> Tensor:
    """Turn indices into a 1-D int64 tensor on the CPU and check that all are in [0, size).

    Args:
        indices: 1-D, of any integer type; may be empty.
        size: the number of things that can be indexed.
        what: what one index is, for the message.

    Raises:
        MismatchError: an index is negative or too large; names the first one.
        TypeError: the indices are not 1-D or not integers (a boolean mask would be misread as 0 and 1).

    Example:
        >>> checked_indices([2, 0], size=3, what="image row")
        tensor([2, 0])
    """
    index = torch.as_tensor(indices, device="cpu")
    integral = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    if index.dim() != 1 or not (integral or index.numel() == 0):
        raise TypeError(f"{what}: expected a 1-D list of integers, got {tuple(index.shape)} {index.dtype}")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        first = int(index[(index < 0) | (index >= size)][0])
        raise MismatchError(f"{what} {first} is outside [0, {size}): use a list made for this data")
    return index.to(torch.int64)
