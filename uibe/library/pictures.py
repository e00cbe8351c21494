"""Images of any common kind as RGB pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from uibe.errors import DataError

__all__ = ["Images", "pictures"]

Images = Image.Image | NDArray[Any] | Tensor | Sequence[Image.Image | NDArray[Any] | Tensor]
"""An image or several: PIL; arrays `(H, W, 3)` or `(N, H, W, 3)`; tensors `(3, H, W)` or `(N, 3, H, W)`."""


def pictures(images: Images) -> list[Image.Image]:
    """RGB pictures of images of any common kind, always a list.

    Values become bytes, so that a picture and its array give the same features.

    Args:
        images: PIL images of any mode; NumPy arrays `(H, W, 3)`, grey `(H, W)`, or a batch `(N, H, W, 3)`;
            tensors `(3, H, W)` or `(N, 3, H, W)` on any device; or a list of these. Arrays and tensors hold
            uint8, or floating numbers in [0, 1].

    Raises:
        DataError: if the shape, type or range is none of these.

    Example:
        >>> grey = np.full((4, 6), 255, np.uint8)
        >>> [image.size for image in pictures([Image.new("L", (2, 3)), grey, torch.zeros(3, 5, 7)])]
        [(2, 3), (6, 4), (7, 5)]
        >>> len(pictures(torch.zeros(8, 3, 5, 7)))
        8
    """
    if isinstance(images, Image.Image):
        return [images.convert("RGB")]
    if isinstance(images, Tensor):
        return _of_tensor(images)
    if isinstance(images, np.ndarray):
        return _of_array(images)
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise DataError(f"images: expected PIL images, arrays or tensors, got a {type(images).__name__}")
    return [picture for image in images for picture in pictures(image)]


def _of_tensor(images: Tensor) -> list[Image.Image]:
    if images.ndim not in (3, 4) or images.shape[-3] != 3:
        shape = tuple(images.shape)
        raise DataError(f"images: expected a tensor (3, H, W) or (N, 3, H, W), got {shape}")
    wide = images.detach().float() if images.dtype in (torch.bfloat16, torch.float16) else images.detach()
    return _of_array(wide.movedim(-3, -1).cpu().numpy())


def _of_array(images: NDArray[Any]) -> list[Image.Image]:
    if images.ndim == 4:
        return [picture for image in images for picture in _of_array(image)]
    if images.ndim not in (2, 3) or (images.ndim == 3 and images.shape[2] != 3) or 0 in images.shape:
        raise DataError(f"images: expected an array (H, W, 3) or (N, H, W, 3), got {images.shape}")
    return [Image.fromarray(np.ascontiguousarray(_bytes(images))).convert("RGB")]


def _bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"images: expected uint8, or floating numbers in [0, 1], got {images.dtype}")
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise DataError("images: expected floating numbers in [0, 1]: divide by 255, or undo a normalization")
    return (images * 255).round().astype(np.uint8)
