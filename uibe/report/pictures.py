"""The pictures beside a report's page, named by their content, so that a rerun never mixes old and new."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from uibe.functional.threads import in_threads
from uibe.report.examples import Examples
from uibe.report.files import output_folder, write_bytes
from uibe.report.sprites import Pixels, sprite, tile_of

__all__ = ["PICTURES", "remove_stale_pictures", "write_pictures"]

PICTURES = "detectors"
"""Folder of the pictures, beside the page."""

_KEPT_TILES = 2048  # decoded images at hand: 77 kB each
_NAME = "[0-9]*-" + "[0-9a-f]" * 8 + ".webp"


class _Strip(NamedTuple):
    number: int
    tiles: list[Pixels]
    maps: Tensor
    threshold: float


def write_pictures(
    folder: Path, examples: Examples, thresholds: Tensor, image: Callable[[int], Image.Image]
) -> list[str]:
    """Draw each detector's strongest images and write them below `detectors/`.

    Args:
        folder: of the page.
        examples: of all I detectors.
        thresholds: `(I,)`.
        image: the image at a position of the stream that the examples were found in.

    Returns:
        I paths relative to the folder.

    Raises:
        DataError: if a picture cannot be written.
    """
    place = output_folder(folder / PICTURES)
    paths = []
    drawn = in_threads(_encoded, _strips(examples, thresholds, image), torch.get_num_threads())
    for number, content in drawn:
        name = f"{number}-{sha256(content).hexdigest()[:8]}.webp"
        write_bytes(place / name, content)
        paths.append(f"{PICTURES}/{name}")
    return paths


def remove_stale_pictures(folder: Path, paths: Iterable[str]) -> None:
    """Remove pictures of earlier reports, and nothing that is not named as one.

    Args:
        folder: of the page.
        paths: what the page shows, relative to the folder.
    """
    shown = {folder / path for path in paths}
    for path in (folder / PICTURES).glob(_NAME):
        if path not in shown:
            path.unlink(missing_ok=True)


def _strips(examples: Examples, thresholds: Tensor, image: Callable[[int], Image.Image]) -> Iterator[_Strip]:
    tile = lru_cache(_KEPT_TILES)(lambda position: tile_of(image(position)))
    maps = examples.maps.cpu()
    for number, positions in enumerate(examples.positions.tolist()):
        tiles = [tile(position) for position in positions]
        yield _Strip(number, tiles, maps[number], float(thresholds[number]))


def _encoded(strip: _Strip) -> tuple[int, bytes]:
    file = BytesIO()
    picture = sprite(strip.tiles, strip.maps, strip.threshold)
    picture.save(file, "WEBP", quality=75, method=2)
    return strip.number, file.getvalue()
