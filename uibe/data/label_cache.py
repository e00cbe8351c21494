"""Labels of images, decoded ahead of their use and kept in memory, beyond some size compressed."""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from uibe.data.broden import BrodenDataset, ImageLabels

__all__ = ["LabelCache"]

_CHUNK = 16  # images to hand to the thread at once: to hand over each takes longer than to decode it


class _Packed(NamedTuple):
    """Labels with compressed planes, of 2 to 3 kilobytes where they had 20."""

    labels: ImageLabels
    content: bytes
    shape: tuple[int, ...]

    def unpack(self) -> ImageLabels:
        empty = self.labels.planes
        content = np.frombuffer(bytearray(zlib.decompress(self.content)), dtype=empty.numpy().dtype)
        return self.labels._replace(planes=torch.from_numpy(content.reshape(self.shape)))


class LabelCache:
    """Labels of the images of a data set, batch by batch and any number of times.

    The next batch is decoded while the last one is in use. Planes are kept as they are in the first half of
    the memory and compressed in the second; what exceeds it is decoded anew in every pass.

    Args:
        images: the data set.
        memory: bytes of label planes to keep.

    Example:
        >>> import tempfile
        >>> from uibe.data.index import BrodenIndex
        >>> from uibe.data.synthetic import render
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = render(f"{folder}/set", num_train=2, num_val=1, image_size=32, mask_size=16)
        ...     cache = LabelCache(BrodenDataset(BrodenIndex.read(root)))
        ...     [first, second] = cache.batches([[0, 1], [2]])
        >>> len(first), [again for again in cache.batches([[2]])][0][0] is second[0]  # no file is read again
        (2, True)
    """

    def __init__(self, images: BrodenDataset, memory: int = 512 * 2**20) -> None:
        self.images = images
        self._plain_room = self._packed_room = memory // 2
        self._plain: dict[int, ImageLabels] = {}
        self._packed: dict[int, _Packed] = {}

    def batches(self, batches: Iterable[Sequence[int]]) -> Iterator[list[ImageLabels]]:
        """Labels of the given rows of the data set, whose planes are of the narrowest type that holds them.

        Raises:
            DataError: a mask is missing, damaged, of the wrong size or has an unknown label number.
        """
        # Pillow works mostly under Python's lock: more threads would only wait for it
        with ThreadPoolExecutor(1) as pool:
            ahead: deque[list[list[ImageLabels] | Future[list[ImageLabels]]]] = deque()
            for rows in batches:
                parts = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
                ahead.append([self._known(part) or pool.submit(self._load, part) for part in parts])
                if len(ahead) > 1:
                    yield _finished(ahead.popleft())
            yield from map(_finished, ahead)

    def _known(self, rows: Sequence[int]) -> list[ImageLabels] | None:
        """The labels of these rows, if all are at hand."""
        found = [self._plain[row] for row in rows if row in self._plain]
        return found if len(found) == len(rows) else None

    def _load(self, rows: Sequence[int]) -> list[ImageLabels]:
        return [self._one(row) for row in rows]

    def _one(self, row: int) -> ImageLabels:
        if row in self._plain:
            return self._plain[row]
        if row in self._packed:
            return self._packed[row].unpack()
        labels = _narrow(self.images, row)
        if labels.planes.nbytes <= self._plain_room:
            self._plain[row] = labels
            self._plain_room -= labels.planes.nbytes
        elif self._packed_room > 0:
            self._packed[row] = packed = _pack(labels)
            self._packed_room -= len(packed.content)
        return labels


def _finished(parts: Iterable[list[ImageLabels] | Future[list[ImageLabels]]]) -> list[ImageLabels]:
    return list(chain.from_iterable(p.result() if isinstance(p, Future) else p for p in parts))


def _pack(labels: ImageLabels) -> _Packed:
    content = zlib.compress(labels.planes.numpy().tobytes(), level=1)
    return _Packed(labels._replace(planes=labels.planes.new_empty(0)), content, tuple(labels.planes.shape))


def _narrow(images: BrodenDataset, row: int) -> ImageLabels:
    labels = images.labels(row)
    largest = len(images.index.labels.names)
    types = [dtype for dtype in (torch.uint8, torch.int16) if largest <= torch.iinfo(dtype).max]
    return labels._replace(planes=labels.planes.to(types[0] if types else torch.int32))
