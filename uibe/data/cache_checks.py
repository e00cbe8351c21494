"""Checksums of cached features: one for each image, compared when a process first reads the image."""

import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uibe.data.cache_folder import CHECK, REMEDY, Layout
from uibe.errors import MismatchError

__all__ = ["ImageChecks", "checks"]


class ImageChecks:
    """The checksums of one cache.

    They are compared while features are read, as opening a cache should not take as long as reading it: 1.4
    GB a second and processor core, once.

    Args:
        path: the cache's folder.
        layout: how its images lie in files; of formats without checksums nothing is compared.

    Attributes:
        unread: `(N,)` bool, which images are still to be compared.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self.unread = torch.full((layout.shape[0],), layout.checked)

    def check(self, room: Tensor, places: Tensor, rows: Tensor) -> None:
        """Compare those of n images that were not compared before.

        Args:
            room: `(m, H, W, D)` in the storage type, contiguous.
            places: `(n,)` where in `room` the images are.
            rows: `(n,)` which images they are.

        Raises:
            MismatchError: an image is damaged.
        """
        unread = self.unread[rows]
        for place, row in zip(places[unread].tolist(), rows[unread].tolist(), strict=True):
            content = room[place].flatten().view(torch.uint8).numpy().data
            found = checks(content, self._layout.image_bytes, self._path.name, row)
            if found != self._expected[row].tobytes():
                file = self._path / self._layout.name(row // self._layout.images_per_shard)
                raise MismatchError(f"{file}: the features of image row {row} are damaged; {REMEDY}")
        self.unread[rows] = False

    @cached_property
    def _expected(self) -> npt.NDArray[np.uint32]:
        """From the ends of the files."""
        parts = []
        for shard in range(self._layout.num_shards):
            num_bytes = len(self._layout.rows(shard)) * CHECK.itemsize
            path = self._path / self._layout.name(shard)
            with path.open("rb") as file:
                file.seek(self._layout.file_bytes[shard] - num_bytes)
                content = file.read(num_bytes)
            if len(content) < num_bytes:
                raise MismatchError(f"{path}: shorter than it was; {REMEDY}")
            parts.append(np.frombuffer(content, CHECK))
        return np.concatenate(parts)


def checks(images: memoryview, image_bytes: int, digest: str, first: int) -> bytes:
    """A CRC-32 of each image as it is stored, which depends on its row and on its cache too.

    So that an image which took the place of another one does not pass for it.

    Args:
        images: bytes of n images.
        image_bytes: of one of them.
        digest: of the cache's key.
        first: row of the first image.

    Example:
        >>> len(checks(memoryview(bytes(24)), 8, "5c10", first=0))
        12
    """
    found = [
        zlib.crc32(images[start : start + image_bytes], zlib.crc32(f"{digest}/{first + number}".encode()))
        for number, start in enumerate(range(0, len(images), image_bytes))
    ]
    return np.asarray(found, CHECK).tobytes()
