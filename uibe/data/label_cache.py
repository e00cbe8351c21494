"""Labels of images, decoded in threads and kept in memory as far as there is room."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch

from uibe.data.broden import BrodenDataset, ImageLabels

__all__ = ["LabelCache"]


class LabelCache:
    """Labels of the images of a data set, batch by batch and any number of times.

    The next batch is decoded while the last one is in use: Pillow decodes outside of Python's lock.

    Args:
        images: the data set.
        memory: bytes of label planes to keep; what exceeds them is decoded anew in every pass.

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

    def __init__(self, images: BrodenDataset, memory: int = 256 * 2**20) -> None:
        self.images = images
        self._room = memory
        self._kept: dict[int, ImageLabels] = {}

    def batches(self, batches: Iterable[Sequence[int]]) -> Iterator[list[ImageLabels]]:
        """Labels of the given rows of the data set, whose planes are of the narrowest type that holds them.

        Raises:
            DataError: a mask is missing, damaged, of the wrong size or has an unknown label number.
        """
        decode = partial(_narrow, self.images)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead: deque[tuple[Sequence[int], list[ImageLabels | Future[ImageLabels]]]] = deque()
            for rows in batches:
                ahead.append((rows, [self._kept.get(row) or pool.submit(decode, row) for row in rows]))
                if len(ahead) > 1:
                    yield self._finished(*ahead.popleft())
            yield from (self._finished(*each) for each in ahead)

    def _finished(
        self, rows: Sequence[int], labels: Sequence[ImageLabels | Future[ImageLabels]]
    ) -> list[ImageLabels]:
        found = [each.result() if isinstance(each, Future) else each for each in labels]
        for row, each in zip(rows, found, strict=True):
            if row not in self._kept and each.planes.nbytes <= self._room:
                self._kept[row] = each
                self._room -= each.planes.nbytes
        return found


def _narrow(images: BrodenDataset, row: int) -> ImageLabels:
    labels = images.labels(row)
    largest = len(images.index.labels.names)
    types = [dtype for dtype in (torch.uint8, torch.int16) if largest <= torch.iinfo(dtype).max]
    return labels._replace(planes=labels.planes.to(types[0] if types else torch.int32))
