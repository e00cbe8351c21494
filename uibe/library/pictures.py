"""Images of any common kind as RGB pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from uibe.data.images import as_rgb, read_rgb
from uibe.errors import DataError

__all__ = ["CHANNELS", "Images", "pictures"]

_ROUNDING = 0.5 / 255  # what is no farther outside gives the outermost byte, as resized images often do

OneOrSeveral = str | Path | Image.Image | NDArray[Any] | Tensor
Images = OneOrSeveral | Sequence[OneOrSeveral]
"""An image or several: see `pictures`."""

CHANNELS = frozenset({1, 3, 4})
"""Grey, RGB, and RGB with transparency, which is dropped."""


def pictures(images: Images, where: str = "images") -> list[Image.Image]:
    """RGB pictures of images of any common kind, always a list.

    Values become bytes, so that a picture and its array give the same features. Files and PIL images are
    turned upright as their EXIF data says, and results are of the upright picture; transparency is dropped.

    Args:
        images: paths of files; PIL images of any mode but `I` and `F`; NumPy arrays `(H, W, C)`, grey
            `(H, W)`, or a batch `(N, H, W, C)`; tensors `(C, H, W)`, grey `(H, W)`, or `(N, C, H, W)` on any
            device; or a list of these, mixed at will. C is 1 (grey), 3 or 4 (RGBA). Arrays and tensors hold
            uint8, or floating numbers in [0, 1].
        where: what messages call them; they give the place in the list, or the file.

    Raises:
        DataError: if there are none, the shape, type or range is none of these, or a file cannot be read.

    Example:
        >>> grey = np.full((4, 6), 255, np.uint8)
        >>> [image.size for image in pictures([Image.new("L", (2, 3)), grey, torch.zeros(3, 5, 7)])]
        [(2, 3), (6, 4), (7, 5)]
        >>> len(pictures(torch.zeros(8, 3, 5, 7)))
        8
    """
    if isinstance(images, str | Path):
        return [_of_file(Path(images), where)]
    if isinstance(images, Image.Image):
        return [as_rgb(images, where)]
    if isinstance(images, Tensor):
        return _of_tensor(images, where)
    if isinstance(images, np.ndarray):
        return _of_array(images, where)
    if not isinstance(images, Sequence) or isinstance(images, bytes | bytearray):
        raise DataError(
            f"{where}: expected files, PIL images, arrays or tensors, got a {type(images).__name__}; give "
            "one of these, or a list"
        )
    if not images:
        raise DataError(f"{where}: the list is empty; give at least one image")
    return [picture for place, image in enumerate(images) for picture in pictures(image, f"{where}[{place}]")]


def _of_file(path: Path, where: str) -> Image.Image:
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected an image: give its files as a list")
    return read_rgb(path, where, upright=True, advice="give a file that is an image")


def _of_tensor(images: Tensor, where: str) -> list[Image.Image]:
    if images.ndim not in (2, 3, 4) or (images.ndim > 2 and images.shape[-3] not in CHANNELS):
        raise DataError(
            f"{where}: expected a tensor (C, H, W) or (N, C, H, W) of 1, 3 or 4 channels, got "
            f"{tuple(images.shape)}: channels come first"
        )
    wide = images.detach().float() if images.dtype in (torch.bfloat16, torch.float16) else images.detach()
    return _of_array((wide if images.ndim == 2 else wide.movedim(-3, -1)).cpu().numpy(), where)


def _of_array(images: NDArray[Any], where: str) -> list[Image.Image]:
    if images.ndim not in (2, 3, 4) or (images.ndim > 2 and images.shape[-1] not in CHANNELS):
        raise DataError(
            f"{where}: expected an array (H, W, C) or (N, H, W, C) of 1, 3 or 4 channels, got "
            f"{images.shape}: channels come last"
        )
    if 0 in images.shape:
        raise DataError(
            f"{where}: expected at least one image of at least one pixel, got shape {images.shape}"
        )
    if images.ndim == 4:
        return [picture for image in images for picture in _of_array(image, where)]
    values = np.ascontiguousarray(_bytes(images, where))
    return [Image.fromarray(values[..., 0] if values.shape[2:] == (1,) else values).convert("RGB")]


def _bytes(images: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(
            f"{where}: expected uint8, or floating numbers in [0, 1], got {images.dtype}; convert it"
        )
    if not np.isfinite(images).all():
        raise DataError(f"{where}: some values are NaN or infinite; expected floating numbers in [0, 1]")
    low, high = images.min(), images.max()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise DataError(
            f"{where}: expected floating numbers in [0, 1], got {low:.4g} to {high:.4g}: divide by 255, or "
            "undo a normalization"
        )
    return (images * 255).round().clip(0, 255).astype(np.uint8)
