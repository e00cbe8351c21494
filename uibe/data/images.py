"""Decoding of image files, and a folder of unlabelled images as a data set."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypedDict

import numpy as np
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
    "decode_mask",
    "decode_rgb",
    "image_fingerprint",
    "read_images",
    "read_rgb",
]

_EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# of these extensions: among Pillow's others is one that starts a PostScript interpreter
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MAX_PIXELS = 89_478_485  # where Pillow begins to warn: a quarter of a gigabyte in RGB
# whose colours are stored as they are; of the last two only black
_MASK_MODES = ("RGB", "RGBA", "P", "L", "1")
_ADVICE = "restore the file or remove its entry"


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

    def place(self, i: int) -> str:
        """The path of image `i`, for messages."""
        return str(self.root / self.names[i])

    def image(self, i: int) -> Image.Image:
        """The decoded RGB image `i`, before the transform.

        Raises:
            DataError: it cannot be decoded.
        """
        return read_rgb(self.root / self.names[i])


def read_rgb(path: Path, where: str = "", upright: bool = False, advice: str = _ADVICE) -> Image.Image:
    """Decode a whole image file of any colour mode as RGB and close it.

    Args:
        path: image file; of an animation the first picture is taken, 16 bits a sample are scaled to 8.
        where: place that refers to the file, named in the message.
        upright: whether to turn it as its EXIF data says; else its stored pixels are taken as they are,
            as masks of data sets are.
        advice: what to do, the message's end.

    Raises:
        DataError: the file is missing, truncated, no image, of more than 89,478,485 pixels, or of values that
            have no white.
    """
    return decode_rgb(path, str(path), where, upright, advice)


def read_images(
    files: Iterable[str], where: str, failed: dict[str, DataError]
) -> Iterator[tuple[str, Image.Image]]:
    """Decode images one after the other, upright; one that cannot be read does not lose the others.

    Args:
        files: one or more; of equal ones the first counts.
        where: option that names them.
        failed: gets the errors of those that cannot be read.

    Raises:
        DataError: at the end, if none of them can be read.
    """
    files = dict.fromkeys(files)
    for file in files:
        try:
            image = read_rgb(Path(file), where, upright=True, advice="give a file that is an image")
        except DataError as error:
            failed[file] = error
        else:
            yield file, image
    if len(failed) == len(files):
        raise DataError("; ".join(map(str, failed.values())))


def decode_rgb(
    file: Path | BinaryIO, place: str, where: str = "", upright: bool = False, advice: str = _ADVICE
) -> Image.Image:
    """Decode an image file that is on the disk or in memory, as `read_rgb`.

    Args:
        file: path or binary stream.
        place: what the message calls it.
        where: place that refers to it.
        upright: as in `read_rgb`.
        advice: likewise.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    return _decoded(file, place, where, partial(_rgb, upright=upright), advice)


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
    except Exception as error:  # as below
        raise DataError(f"{place}: cannot be decoded ({_said(error)}); open the image again") from error


def decode_mask(file: Path | BinaryIO, place: str, where: str = "") -> Image.Image:
    """Decode a mask, whose red and green are a label number, as RGB.

    Args:
        file: path or binary stream.
        place: what the message calls it.
        where: place that refers to it.

    Raises:
        DataError: as `decode_rgb`; or its colours are not label numbers: it is grey, has blue, or is of a
            mode whose colours would have to be converted.
    """
    return _decoded(file, place, where, _numbers)


def _decoded(
    file: Path | BinaryIO,
    place: str,
    where: str,
    convert: Callable[[Image.Image], Image.Image],
    advice: str = _ADVICE,
) -> Image.Image:
    try:
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise OSError("not a file")  # a pipe or a device might never end
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(
                    f"{image.width} x {image.height} pixels; expected at most {_MAX_PIXELS} in all"
                )
            return convert(image)
    except Exception as error:  # on damaged files, Pillow's decoders fail in any way
        reason = (
            "no such file" if isinstance(error, FileNotFoundError) else f"cannot be decoded ({_said(error)})"
        )
        origin = f" (from {where})" if where else ""
        raise DataError(f"{place}{origin}: {reason}; {advice}") from error


def _rgb(image: Image.Image, upright: bool = False) -> Image.Image:
    turned = _turned(image) if upright else image
    if turned.mode.startswith("I;16"):
        # Pillow would cut the values off at 255
        return Image.fromarray((np.asarray(turned) // 257).astype(np.uint8)).convert("RGB")
    if turned.mode in ("I", "F"):
        raise ValueError(f"mode {turned.mode}: 32-bit values, of which none is white; store 8 bits")
    # Pillow warns when it drops the palette's transparency by itself
    clear = turned.convert("RGBA") if "transparency" in turned.info else turned
    return clear.convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data says nothing; damaged pixels are found when they are read
        return image


def _numbers(image: Image.Image) -> Image.Image:
    if image.mode not in _MASK_MODES:
        raise ValueError(f"mode {image.mode}; expected a mask in RGB, label numbers as R + 256 G")
    colors = _rgb(image)
    if colors.getchannel("B").getbbox() is not None:
        raise ValueError("blue or grey pixels; expected a mask in RGB, label numbers as R + 256 G, blue 0")
    return colors


def _said(error: Exception) -> str:
    """One line for an exception, some of which have no text."""
    lines = str(error).split("\n")
    return lines[0].strip() or type(error).__name__


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
