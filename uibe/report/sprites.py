"""One picture for each detector: its strongest images side by side, masks outlined."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from uibe.functional.bilinear import upsample

__all__ = ["COLUMNS", "TILE", "faded", "sprite", "sprite_size", "tile_of"]

TILE = 160
"""Side of one image, in pixels."""
COLUMNS = 3
"""Images in a row."""

_GAP = 4
_OUTLINE = (255, 212, 0)
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

Pixels = NDArray[np.uint8]


def sprite_size(images: int) -> tuple[int, int]:
    """Width and height in pixels of the sprite of so many images.

    Example:
        >>> sprite_size(6)
        (488, 324)
    """
    columns, rows = min(images, COLUMNS), -(-images // COLUMNS)
    return columns * (TILE + _GAP) - _GAP, rows * (TILE + _GAP) - _GAP


def tile_of(image: Image.Image) -> Pixels:
    """An RGB image as the network sees it, whole in a square: `(TILE, TILE, 3)` uint8.

    Example:
        >>> tile_of(Image.new("RGB", (8, 4))).shape
        (160, 160, 3)
    """
    return np.asarray(image.resize((TILE, TILE), Image.Resampling.BILINEAR, reducing_gap=2.0))


def sprite(tiles: Sequence[Pixels], maps: Tensor, threshold: float) -> Image.Image:
    """Images in rows of three, the mask outlined, what is outside it faded; gaps are transparent.

    Args:
        tiles: n images from `tile_of`.
        maps: `(n, h, w)` projections of these images.
        threshold: the detector fires strictly above it.

    Raises:
        ValueError: if there is no image, or not a map for each.

    Example:
        >>> import torch
        >>> tile = tile_of(Image.new("RGB", (8, 8), "white"))
        >>> picture = sprite([tile], torch.tensor([[[0.0, 1.0]]]), threshold=0.5)
        >>> picture.getpixel((5, 80)), picture.getpixel((150, 80)), picture.getpixel((159, 80))
        ((238, 238, 238, 255), (255, 255, 255, 255), (255, 212, 0, 255))
    """
    if not tiles or len(tiles) != len(maps):
        raise ValueError(f"expected an image for each map and at least one, got {len(tiles)} and {len(maps)}")
    width, height = sprite_size(len(tiles))
    canvas = np.zeros((height, width, 4), np.uint8)
    masks = (upsample(maps.cpu(), (TILE, TILE)) > threshold).numpy()
    for position, (tile, mask) in enumerate(zip(tiles, masks, strict=True)):
        top, left = ((TILE + _GAP) * place for place in divmod(position, COLUMNS))
        canvas[top : top + TILE, left : left + TILE, :3] = _marked(tile, mask)
        canvas[top : top + TILE, left : left + TILE, 3] = 255
    return Image.fromarray(canvas)


def faded(picture: Pixels) -> Pixels:
    """What is outside a mask: without colour and lightened, so that dark photographs stay readable.

    Args:
        picture: `(height, width, 3)` uint8.

    Example:
        >>> faded(np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)).tolist()
        [[[85, 85, 85], [238, 238, 238], [130, 130, 130]]]
    """
    luma = picture @ _LUMA
    return np.repeat((85 + 0.6 * luma + 1e-6).astype(np.uint8)[..., None], 3, axis=-1)


def _marked(tile: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    marked = np.where(mask[..., None], tile, faded(tile))
    marked[_border(mask)] = _OUTLINE
    return marked


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels on both sides of the mask's edge, a line two pixels wide, closed where the image ends."""
    inside = mask.copy()
    inside[[0, -1]] = inside[:, [0, -1]] = False
    border = np.zeros_like(mask)
    down, right = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border
