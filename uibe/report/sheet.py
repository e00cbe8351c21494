"""Small pictures of detectors, drawn in milliseconds."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import max_pool2d

from uibe.functional.bilinear import upsample
from uibe.report.sprites import faded

__all__ = ["contact_sheet", "thumbnails"]

_OUTLINE = (255, 212, 0)
_TILE, _GAP, _COLUMNS, _LINE = 140, 4, 3, 17


def contact_sheet(
    images: Sequence[Image.Image], maps: Tensor, threshold: float, lines: Sequence[str]
) -> Tensor:
    """One detector's images, three in a row below the text, as `figures.detector_figure` shows them.

    Matplotlib takes ten times as long, too long for every epoch.

    Args:
        images: RGB images, one or more.
        maps: `(n, h, w)` projections of these images.
        threshold: the detector fires strictly above it.
        lines: of text.

    Returns:
        `(3, height, width)` uint8.

    Example:
        >>> contact_sheet([Image.new("RGB", (8, 8))] * 4, torch.rand(4, 2, 2), 0.5, ["sky"]).shape
        torch.Size([3, 309, 432])
    """
    top, step = _LINE * len(lines) + _GAP, _TILE + _GAP
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("RGB", (step * _COLUMNS, top + step * rows), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, line in enumerate(lines):
        draw.text((_GAP, _GAP // 2 + _LINE * number), line, "black", font)
    masks = upsample(maps.cpu(), (_TILE, _TILE)) > threshold
    for place, (image, mask) in enumerate(zip(images, masks, strict=True)):
        row, column = divmod(place, _COLUMNS)
        sheet.paste(_masked(image, mask), (step * column + _GAP // 2, top + step * row))
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


def thumbnails(images: Iterable[Image.Image], size: int) -> Tensor:
    """Small pictures of RGB images, `(n, 3, size, size)` in [0, 1].

    Example:
        >>> thumbnails([Image.new("RGB", (8, 6), "white")], 4).shape
        torch.Size([1, 3, 4, 4])
    """
    arrays = [np.asarray(image.resize((size, size)), dtype=np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def _masked(image: Image.Image, mask: Tensor) -> Image.Image:
    picture = np.asarray(image.resize((_TILE, _TILE)))
    inside = mask.numpy()[..., None]
    marked = np.where(inside, picture, faded(picture))
    outside = (~mask).float()[None]
    edge = (max_pool2d(outside, 3, 1, 1)[0] > 0) & mask
    marked[edge.numpy()] = _OUTLINE
    return Image.fromarray(marked)
