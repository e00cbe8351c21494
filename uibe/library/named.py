"""Images by name, read one by one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from uibe.data.broden import BrodenDataset, BrodenIndex
from uibe.data.images import ImageFolderDataset
from uibe.errors import ConfigError
from uibe.library.pictures import Images, pictures

__all__ = ["NamedImages", "named_images"]


class NamedImages(NamedTuple):
    """Names, and how to read the image of each.

    Attributes:
        names: paths, or numbers of images that were given.
        read: an RGB image by its place.
    """

    names: Sequence[str]
    read: Callable[[int], Image.Image]


def named_images(images: str | Path | Images | None) -> NamedImages:
    """Images of a folder, of a data set in Broden's format, or given ones.

    Raises:
        ConfigError: if None are given.
        DataError: if there are none, or they are of no known kind.

    Example:
        >>> named_images([Image.new("RGB", (2, 2))]).names
        ['0']
    """
    if images is None:
        raise ConfigError("images: give a folder or images; this basis does not know those it was learned on")
    if not isinstance(images, str | Path):
        found = pictures(images)
        return NamedImages([str(place) for place in range(len(found))], found.__getitem__)
    if Path(images, "index.csv").is_file():
        broden = BrodenDataset(BrodenIndex.read(Path(images)))
        return NamedImages([row.image for row in broden.index.rows], broden.image)
    folder = ImageFolderDataset(images, _unused)
    return NamedImages(folder.names, folder.image)


def _unused(image: Image.Image) -> Tensor:
    raise NotImplementedError("images are read as they are")
