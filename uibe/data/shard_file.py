"""One shard of a feature cache: whole under its name, or not there."""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from uibe.data.cache_checks import checks
from uibe.data.cache_folder import DTYPES, Layout
from uibe.errors import DataError
from uibe.files import publish, temporary_file

__all__ = ["FeatureStream", "UnstorableError", "disk_errors", "write_shard"]


class UnstorableError(DataError):
    """A value is not finite, or beyond what the file's type holds.

    Args:
        message: names row and channel.
        row: of the image.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@contextlib.contextmanager
def disk_errors(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Turn errors of writing into a `DataError` that names the cache and what it needs.

    Args:
        path: the cache's final folder.
        num_bytes: all that it needs, where known.
    """
    try:
        yield
    except OSError as error:
        need = f" ({num_bytes} bytes needed)" if num_bytes else ""
        raise DataError(
            f"{path}: cannot be written{need}: {error.strerror or error}; free space or choose another folder"
        ) from error


class FeatureStream:
    """Batches of features, handed out in parts of other sizes and counted.

    Args:
        path: the cache's folder, for messages.
        batches: (n, D, H, W) of any floating type and device.
        num_images: how many images they hold together.

    Example:
        >>> stream = FeatureStream(Path("cache"), [torch.zeros(3, 1, 1, 1)], 3)
        >>> [len(part) for part in stream.take(2)], [len(part) for part in stream.take(1)]
        ([2], [1])
    """

    def __init__(self, path: Path, batches: Iterable[Tensor], num_images: int) -> None:
        self._path, self._num_images = path, num_images
        self._batches = iter(batches)
        self._sizes: tuple[int, ...] = ()
        self._taken = 0

    def sizes(self) -> tuple[int, int, int]:
        """(D, H, W) of the first batch, which stays in the stream.

        Raises:
            DataError: there is no batch, or it is not of four dimensions.
        """
        first = self._next()
        if first is None:
            raise self._too_few()
        self._push_back(first)
        num_features, height, width = first.shape[1:]
        return num_features, height, width

    def take(self, count: int) -> Iterator[Tensor]:
        """The next `count` images, float32 on the CPU.

        Raises:
            DataError: there are not so many, or a batch has another size than the first.
        """
        while count:
            batch = self._next()
            if batch is None:
                raise self._too_few()
            part, rest = batch[:count], batch[count:]
            if len(rest):
                self._push_back(rest)
            count -= len(part)
            self._taken += len(part)
            yield part

    def finish(self) -> None:
        """Check that nothing is left.

        Raises:
            DataError: there is more.
        """
        while (batch := self._next()) is not None:
            if len(batch):
                raise DataError(
                    f"{self._path}: more than the {self._num_images} images announced: "
                    "check that the batches and the image list are of the same data"
                )

    def _next(self) -> Tensor | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        if not self._sizes:
            if batch.dim() != 4 or 0 in batch.shape:
                raise DataError(f"{self._path}: expected a batch (n, D, H, W), got {tuple(batch.shape)}")
            self._sizes = tuple(batch.shape[1:])
        if batch.shape[1:] != self._sizes:
            raise DataError(
                f"{self._path}: a batch is {tuple(batch.shape)}, the first one was (n, D, H, W) with "
                f"(D, H, W) = {self._sizes}: give all images the same size"
            )
        return batch.detach().to("cpu", torch.float32)

    def _push_back(self, batch: Tensor) -> None:
        self._batches = itertools.chain([batch], self._batches)

    def _too_few(self) -> DataError:
        return DataError(
            f"{self._path}: {self._taken} images came, {self._num_images} were announced: "
            "check that the batches and the image list are of the same data"
        )


def write_shard(folder: Path, path: Path, layout: Layout, shard: int, stream: FeatureStream) -> None:
    """Take the images of one shard from a stream and write its file.

    Args:
        folder: where to write.
        path: the cache's final folder, for messages.
        layout: how the images are divided.
        shard: which shard.
        stream: has the shard's images next.

    Raises:
        DataError: see `uibe.data.cache.fill`.
    """
    name = layout.name(shard)
    needed = layout.shape[0] * layout.image_bytes
    rows = layout.rows(shard)
    with temporary_file(folder / name, path) as temporary:  # another run may have renamed the folder
        with contextlib.ExitStack() as stack:
            # Unbuffered, so that a full disk shows here and not while closing.
            with disk_errors(path, needed):
                file = stack.enter_context(open(temporary, "wb", buffering=0))
            _write(file, memoryview(layout.header(shard)), path, needed)
            row, sums = rows.start, b""
            for features in stream.take(len(rows)):
                images = _stored(features, path, layout, row)
                _write(file, images, path, needed)
                sums += checks(images, layout.image_bytes, path.name, row)
                row += len(features)
            _write(file, memoryview(sums), path, needed)
        with disk_errors(path, needed):
            publish(temporary, folder / name)


def _write(file: io.FileIO, data: memoryview, path: Path, needed: int) -> None:
    with disk_errors(path, needed):
        while data:  # a raw write may be partial
            data = data[file.write(data) :]


def _stored(features: Tensor, path: Path, layout: Layout, row: int) -> memoryview:
    """Features (n, D, H, W) of the images from `row` on as bytes in the order and type of the file."""
    _, height, width, num_features = layout.shape
    if features.shape[1:] != (num_features, height, width):
        raise DataError(
            f"{path}: a batch is {tuple(features.shape)}, expected (n, D, H, W) with "
            f"(D, H, W) = {(num_features, height, width)}: announce the size that the batches have"
        )
    dtype = DTYPES[layout.dtype]
    pixels = features.permute(0, 2, 3, 1).contiguous()
    # rounding is monotonic: if the extremes can be stored, so can all that lies between
    if len(pixels) and not torch.stack(pixels.aminmax()).to(dtype).isfinite().all():
        raise _unstorable(features, path, dtype, row)
    data: memoryview = pixels.to(dtype).flatten().view(torch.uint8).numpy().data
    return data


def _unstorable(features: Tensor, path: Path, dtype: torch.dtype, first: int) -> UnstorableError:
    bad = ~torch.isfinite(features)
    remedy = "check the image and the weights" if bad.any() else 'use dtype "float32" (data.cache_dtype)'
    if not bad.any():
        bad = ~torch.isfinite(features.to(dtype))
    row, channel, y, x = bad.nonzero()[0].tolist()
    value = float(features[row, channel, y, x])
    return UnstorableError(
        f"{path}: image row {first + row}, channel {channel} has the value {value:g}, "
        f"which {dtype} cannot store: {remedy}",
        first + row,
    )
