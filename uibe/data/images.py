"""Decoding of image files, and a folder of unlabelled images as a data set."""

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypedDict

from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from uibe.data.sources import FolderSource, fingerprint
from uibe.errors import DataError

__all__ = [
    "ImageFolderDataset",
    "ImageSample",
    "as_rgb",
    "content_fingerprint",
    "decode_rgb",
    "image_fingerprint",
    "read_rgb",
]

_EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# What Pillow's decoders raise on damaged files: its documentation promises only OSError.
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class ImageSample(TypedDict):
    """One unlabelled image: the transformed image and its position in the data set."""

    image: Tensor
    row: int


class ImageFolderDataset(Dataset[ImageSample]):
    """All images below a folder, without labels, sorted by path.

    Samples are dicts of `image` (what `transform` returns) and `row` (int); torch's default collation
    turns them into batches with the same keys.

    Args:
        root: folder, searched recursively; hidden files and folders are left out.
        transform: turns an RGB image into a tensor.

    Raises:
        DataError: the folder is missing or holds no image; on access: an image cannot be decoded.

    Example:
        >>> import tempfile
        >>> from torchvision.transforms.functional import to_tensor
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (6, 4)).save(f"{folder}/grey.png")
        ...     sample = ImageFolderDataset(folder, to_tensor)[0]
        >>> sample["image"].shape, sample["row"]
        (torch.Size([3, 4, 6]), 0)
    """

    def __init__(self, root: Path | str, transform: Callable[[Image.Image], Tensor]) -> None:
        self.root = Path(root)
        self.transform = transform
        self.names = _image_names(self.root)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> ImageSample:
        return {"image": self.transform(self.image(i)), "row": range(len(self))[i]}

    def image(self, i: int) -> Image.Image:
        """The decoded RGB image `i`, before the transform.

        Raises:
            DataError: it cannot be decoded.
        """
        return read_rgb(self.root / self.names[i])


def read_rgb(path: Path, where: str = "", upright: bool = False) -> Image.Image:
    """Decode a whole image file of any colour mode as RGB and close it.

    Args:
        path: image file.
        where: place that refers to the file, named in the message.
        upright: whether to turn it as its EXIF data says; else its stored pixels are taken as they are,
            as masks of data sets are.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    return decode_rgb(path, str(path), where, upright)


def decode_rgb(file: Path | BinaryIO, place: str, where: str = "", upright: bool = False) -> Image.Image:
    """Decode an image file that is on the disk or in memory, as `read_rgb`.

    Args:
        file: path or binary stream.
        place: what the message calls it.
        where: place that refers to it.
        upright: as in `read_rgb`.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    origin = f" (from {where})" if where else ""
    try:
        with Image.open(file) as image:
            return _rgb(image, upright)
    except _DAMAGE as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be decoded ({error})"
        raise DataError(f"{place}{origin}: {reason}; restore the file or remove its entry") from error


def as_rgb(image: Image.Image, place: str) -> Image.Image:
    """A picture of any colour mode as RGB, upright as its EXIF data says.

    Args:
        image: 16-bit grey is scaled to 8 bits; transparency is dropped.
        place: what the message calls it.

    Raises:
        DataError: it is truncated, closed or empty, or its values have no known range.

    Example:
        >>> as_rgb(Image.new("CMYK", (2, 3)), "image").getpixel((0, 0))
        (255, 255, 255)
    """
    if 0 in image.size:
        raise DataError(f"{place}: expected at least one pixel, got {image.width} x {image.height}")
    if image.mode in ("I", "F"):
        raise DataError(
            f"{place}: mode {image.mode!r} has no range; expected 8 bits a channel: scale it to 0..255, "
            'then convert it to "L"'
        )
    try:
        return _rgb(image, upright=True)
    except _DAMAGE as error:
        raise DataError(f"{place}: cannot be decoded ({error}); open the image again") from error


def _rgb(image: Image.Image, upright: bool) -> Image.Image:
    turned = _turned(image) if upright else image
    if turned.mode.startswith("I;16"):
        # Pillow would cut the values off at 255
        turned = turned.convert("I").point([value // 257 for value in range(65536)], "L")
    # Pillow warns when it drops the palette's transparency by itself
    clear = turned.convert("RGBA") if "transparency" in turned.info else turned
    return clear.convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:  # damaged EXIF data, which says nothing; damaged pixels are found when they are read
        return image


def content_fingerprint(root: Path, names: Iterable[str]) -> str:
    """SHA-256 over the given names, in order, and what their files below `root` contain.

    Returns:
        64 hexadecimal digits; they do not depend on where `root` is.

    Raises:
        DataError: a file cannot be read.
    """
    return fingerprint(names, FolderSource(root).digest)


def image_fingerprint(dataset: ImageFolderDataset) -> str:
    """SHA-256 over the relative paths and the contents of a folder's images, as `content_fingerprint`."""
    return content_fingerprint(dataset.root, dataset.names)


def _image_names(root: Path) -> tuple[str, ...]:
    """Paths of the images below a folder, relative to it, sorted, with forward slashes."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder of images: correct the path")
    paths = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in _EXTENSIONS)
    names = (path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    found = tuple(sorted(name for name in names if (root / name).is_file()))
    if not found:
        raise DataError(f"{root}: no images; expected files ending in {', '.join(sorted(_EXTENSIONS))}")
    return found
