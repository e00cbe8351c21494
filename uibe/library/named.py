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


def named_images(images: Images | None) -> NamedImages:
    """Images of a folder, of a data set in Broden's format, or given ones; files are read when asked for.

    Raises:
        ConfigError: if None are given.
        DataError: if there are none, or they are of no known kind.

    Example:
        >>> named_images([Image.new("RGB", (2, 2))]).names
        ['0']
    """
    if images is None:
        raise ConfigError("images: give a folder or images; this basis does not know those it was learned on")
    if isinstance(images, str | Path) and not Path(images).is_file():
        return _of_folder(Path(images))
    given: Images = [images] if isinstance(images, str | Path) else images
    if isinstance(given, list | tuple) and given and all(isinstance(each, str | Path) for each in given):
        files = [str(each) for each in given]
        return NamedImages(files, lambda place: pictures(files[place])[0])
    found, names = pictures(given), []
    if isinstance(given, list | tuple) and len(found) == len(given):
        names = [
            str(each) if isinstance(each, str | Path) else str(place) for place, each in enumerate(given)
        ]
    return NamedImages(names or [str(place) for place in range(len(found))], found.__getitem__)


def _of_folder(path: Path) -> NamedImages:
    if (path / "index.csv").is_file():
        broden = BrodenDataset(BrodenIndex.read(path))
        return NamedImages([row.image for row in broden.index.rows], broden.image)
    folder = ImageFolderDataset(path, _unused)
    return NamedImages(folder.names, lambda place: pictures(folder.root / folder.names[place])[0])


def _unused(image: Image.Image) -> Tensor:
    raise NotImplementedError("images are read as they are")
