"""Images and label planes of a data set in Broden's format, their verification and fingerprints.

Label numbers of the masks become *concept codes*: 0 is unlabelled, c + 1 is concept c of the index's
label table.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from uibe.data.images import decode_mask, decode_rgb
from uibe.data.index import BrodenIndex, BrodenRow, Cell, LabelTable
from uibe.data.sources import fingerprint
from uibe.data.threads import in_threads
from uibe.data.windows import Windows
from uibe.errors import ConfigError, DataError

__all__ = [
    "BrodenBatch",
    "BrodenDataset",
    "BrodenIndex",
    "BrodenRow",
    "BrodenSample",
    "Cell",
    "ImageLabels",
    "LabelTable",
    "collate",
    "image_fingerprint",
    "label_fingerprint",
    "verify",
]


class ImageLabels(NamedTuple):
    """Everything that is known about the concepts of one image.

    Attributes:
        planes: shape (planes, sh, sw), int32 or narrower, concept codes; all planes of all categories, in
            the order of the categories. A pixel can carry several concepts, one in each plane.
        image_wide: shape (L,), int64, ascending indices of the concepts that hold for the whole image.
        annotated: shape (K,), bool, whether category k is annotated in this image: its cell of
            index.csv is filled, or a concept *of category k* occurs, be it in a plane or cell of
            another category. The second clause departs from "the cell is filled" only for labels that
            live in several categories (`wall` as a part, of category object); without it they would
            count as intersections in images whose activations are not counted.
        concepts: shape (L,), int64, ascending indices of all concepts that occur, in planes or image-wide.
    """

    planes: Tensor
    image_wide: Tensor
    annotated: Tensor
    concepts: Tensor


class BrodenSample(TypedDict):
    """One image: the transformed image, its labels and its position in `BrodenIndex.rows`."""

    image: Tensor
    labels: ImageLabels
    row: int


class BrodenBatch(TypedDict):
    """Several samples: images (N, ...), N labels, rows (N,) int64."""

    image: Tensor
    labels: list[ImageLabels]
    row: Tensor


class BrodenDataset(Dataset[BrodenSample]):
    """Images with label planes.

    Args:
        index: the data set's index.
        rows: a split (`train`, `val`) or positions in `index.rows`; all rows by default.
        transform: turns an RGB image into a tensor; needed for samples, not for `labels` and `image`.

    Raises:
        DataError: the split is empty; on access: an image or mask is missing, damaged or contradicts
            the index.

    Example:
        >>> import tempfile
        >>> from torchvision.transforms.functional import to_tensor
        >>> from uibe.data.synthetic import render
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = render(f"{folder}/set", num_train=2, num_val=1, image_size=32, mask_size=16)
        ...     sample = BrodenDataset(BrodenIndex.read(root), "val", to_tensor)[0]
        >>> sample["image"].shape, sample["labels"].planes.shape[1:], sample["row"]
        (torch.Size([3, 32, 32]), torch.Size([16, 16]), 2)
    """

    def __init__(
        self,
        index: BrodenIndex,
        rows: str | Sequence[int] | None = None,
        transform: Callable[[Image.Image], Tensor] | None = None,
    ) -> None:
        self.index = index
        if isinstance(rows, str):
            self.rows = index.split_rows(rows)
        else:
            self.rows = tuple(range(len(index.rows)) if rows is None else rows)
        self.transform = transform
        # a copy: sending the index to another process moves a tensor's memory away from under a view of it
        self._codes = index.labels.codes.numpy().copy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> BrodenSample:
        if self.transform is None:
            raise TypeError("samples need a transform: give BrodenDataset one, or use labels(i) and image(i)")
        return {"image": self.transform(self.image(i)), "labels": self.labels(i), "row": self.rows[i]}

    def place(self, i: int) -> str:
        """The path or URL of image `i`, for messages."""
        return self.index.source.place(f"images/{self.index.rows[self.rows[i]].image}")

    def image(self, i: int) -> Image.Image:
        """The decoded RGB image `i`, before the transform.

        Raises:
            DataError: it is missing or cannot be decoded.
        """
        row = self.index.rows[self.rows[i]]
        return self._decode(f"images/{row.image}", row, decode_rgb)

    def labels(self, i: int) -> ImageLabels:
        """The labels of image `i`; the image itself is not opened.

        Raises:
            DataError: a mask is missing, damaged, of the wrong size or has an unknown label number.
        """
        row = self.index.rows[self.rows[i]]
        table = self.index.labels
        planes = np.zeros((sum(len(cell.masks) for cell in row.cells), *row.mask_size), np.int32)
        for plane, mask in zip(planes, (mask for cell in row.cells for mask in cell.masks), strict=True):
            plane[...] = self._plane(row, mask)
        image_wide = torch.tensor(sorted({c for cell in row.cells for c in cell.concepts}), dtype=torch.int64)
        in_planes = torch.from_numpy(np.flatnonzero(np.bincount(planes.ravel(), minlength=1)[1:]))
        concepts = torch.cat([in_planes, image_wide]).unique()  # type: ignore[no-untyped-call]
        annotated = torch.tensor([cell.filled for cell in row.cells])
        annotated[table.category[concepts]] = True
        return ImageLabels(torch.from_numpy(planes), image_wide, annotated, concepts)

    def _plane(self, row: BrodenRow, mask: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """Concept codes (sh, sw) of one mask file."""
        pixels = np.asarray(self._decode(f"images/{mask}", row, decode_mask))
        if pixels.shape[:2] != row.mask_size:
            found, expected = (f"{w} x {h}" for h, w in (pixels.shape[:2], row.mask_size))
            where = f"{self.index.source.place(f'images/{mask}')} (from {self._where(row)})"
            raise DataError(f"{where}: {found} pixels; expected {expected}, sw x sh")
        numbers = pixels[..., 0] + pixels[..., 1] * np.uint16(256)
        codes: np.ndarray[tuple[int, ...], np.dtype[np.int32]] = self._codes.take(numbers)
        if np.any(codes < 0):
            where = f"{self.index.source.place(f'images/{mask}')} (from {self._where(row)})"
            raise DataError(
                f"{where}: label number {numbers[codes < 0][0]} (R + 256 G) "
                "is not in label.csv; add it there or correct the mask"
            )
        return codes

    def windows(self, rows: Sequence[int]) -> Windows | None:
        """How to shuffle some ascending rows so that few bytes are read twice; None: in any way."""
        return self.index.source.windows(len(rows))

    def _decode(self, name: str, row: BrodenRow, decode: Callable[..., Image.Image]) -> Image.Image:
        source = self.index.source
        return decode(source.file(name), source.place(name), self._where(row))

    def _where(self, row: BrodenRow) -> str:
        return f"{self.index.source.place('index.csv')}, line {row.line}"


def collate(samples: Sequence[BrodenSample]) -> BrodenBatch:
    """Batch samples: images are stacked, labels stay a list as their planes differ in number.

    Args:
        samples: at least one sample; all images of one shape.

    Example:
        >>> labels = ImageLabels(torch.zeros(0, 2, 2), *torch.zeros(3, 0))
        >>> batch = collate([{"image": torch.zeros(3, 4, 4), "labels": labels, "row": 7}] * 2)
        >>> batch["image"].shape, len(batch["labels"]), batch["row"]
        (torch.Size([2, 3, 4, 4]), 2, tensor([7, 7]))
    """
    return {
        "image": torch.stack([sample["image"] for sample in samples]),
        "labels": [sample["labels"] for sample in samples],
        "row": torch.tensor([sample["row"] for sample in samples]),
    }


def verify(
    index: BrodenIndex, damaged: Literal["refuse", "skip"] = "refuse", progress: bool = False
) -> tuple[BrodenIndex, list[str]]:
    """Decode every image and mask of an index once.

    Args:
        index: what to verify.
        damaged: `refuse` raises at the first damaged row, `skip` leaves such rows out.
        progress: whether to show a progress bar.

    Returns:
        The index without its damaged rows, and one message for each of them.

    Raises:
        DataError: a row is damaged and `damaged` is `refuse`, or no row of a split is sound.
        ConfigError: `damaged` is neither.
    """
    if damaged not in ("refuse", "skip"):
        raise ConfigError(f"damaged: {damaged!r}; expected refuse or skip")
    dataset = BrodenDataset(index)

    def complaint(i: int) -> str | None:
        try:
            dataset.image(i)
            dataset.labels(i)
        except DataError as error:
            if damaged == "refuse":
                raise
            return str(error)
        return None

    with closing(in_threads(complaint, range(len(dataset)))) as results:
        steps = track(results, "Verifying images", total=len(dataset), disable=not progress, transient=True)
        complaints = list(steps)
    sound = tuple(row for row, message in zip(index.rows, complaints, strict=True) if message is None)
    lost = {row.split for row in index.rows} - {row.split for row in sound}
    if lost:
        gone = [message for row, message in zip(index.rows, complaints, strict=True) if row.split in lost]
        which = f" of split {min(lost)!r}" if sound else ""
        raise DataError(
            f"{index.source.place()}: all {len(gone)} images{which} are damaged; the first: {gone[0]}"
        )
    return replace(index, rows=sound), [message for message in complaints if message is not None]


def image_fingerprint(index: BrodenIndex) -> str:
    """SHA-256 over the image paths of the index's rows, in order, and the contents of those images.

    It does not depend on labels, masks or where the folder is: a key for caches of features.

    Raises:
        DataError: an image cannot be read.
    """
    return fingerprint((row.image for row in index.rows), lambda name: index.source.digest(f"images/{name}"))


def label_fingerprint(index: BrodenIndex) -> str:
    """SHA-256 over all that determines the labels: csv files, categories in use, rows and masks.

    Raises:
        DataError: a file cannot be read.
    """
    masks = (f"images/{mask}" for row in index.rows for cell in row.cells for mask in cell.masks)
    content = fingerprint(["index.csv", "label.csv", "category.csv", *masks], index.source.digest)
    parts = [content, *index.labels.categories, *(str(row.line) for row in index.rows)]
    return sha256("\n".join(parts).encode()).hexdigest()
