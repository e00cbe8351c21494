"""Shuffled pixels for training and whole images for evaluation, read batch by batch from a feature cache.

All samplers here yield whole batches and go into `DataLoader(dataset, batch_size=None, sampler=...)`, so
that the data set gathers a batch with one call. They derive from `DistributedSampler` only because
Lightning leaves such samplers alone, while it would wrap any other one in a padding sampler.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from uibe.data.blocks import BlockBuffer
from uibe.data.cache import FeatureCache
from uibe.data.indices import checked_indices
from uibe.data.windows import Windows
from uibe.errors import ConfigError, DataError

__all__ = ["DEFAULT_BUDGET", "PixelBatchSampler", "PixelDataset", "RowBatchSampler"]

DEFAULT_BUDGET = 512 * 2**20


class PixelDataset(Dataset[Tensor]):
    """The pixels of some images of a cache, image by image, gathered in batches.

    Position p is pixel p % (H * W) of the image `rows[p // (H * W)]`. Any positions can be asked for; in
    the order of `windows` every block is read from disk once a pass. The memory is taken at the first batch,
    in each data-loading worker anew.

    Args:
        cache: the features.
        rows: the image rows to use, for instance those of the training split.
        budget: bytes of features, in the storage type, to keep in memory; at least one image is kept.

    Attributes:
        windows: how to shuffle the positions so that the budget suffices.

    Raises:
        DataError: there are no rows.
        MismatchError: a row is outside the cache.

    Example:
        >>> import tempfile
        >>> from torch.utils.data import DataLoader
        >>> from uibe.data.cache import CacheKey, fill
        >>> key = CacheKey(layer="features.7", dtype="float32")
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     cache = fill(directory, key, 5, [torch.rand(5, 3, 2, 2)])
        ...     pixels = PixelDataset(cache, rows=[0, 1, 4])
        ...     sampler = PixelBatchSampler(len(pixels), batch_size=8)
        ...     [batch.shape for batch in DataLoader(pixels, batch_size=None, sampler=sampler)]
        [torch.Size([8, 3])]
    """

    def __init__(
        self, cache: FeatureCache, rows: Tensor | Sequence[int], budget: int = DEFAULT_BUDGET
    ) -> None:
        self.cache = cache
        self.rows = checked_indices(rows, cache.num_images, f"{cache.path}: image row")
        if not len(self.rows):
            raise DataError(f"{cache.path}: no image rows were chosen: check the split")
        area = cache.feature_size[0] * cache.feature_size[1]
        self.windows = Windows.within(budget, len(self.rows), area, cache.image_bytes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "buffer"}

    def __len__(self) -> int:
        return len(self.rows) * self.windows.area

    def __getitem__(self, positions: Tensor | Sequence[int]) -> Tensor:
        """Gather the pixels at n positions, each in [0, len(self)), as (n, D) float32."""
        position = checked_indices(positions, len(self), f"{self.cache.path}: pixel position")
        return self.buffer.gather(position).to(torch.float32)

    @cached_property
    def buffer(self) -> BlockBuffer:
        """The blocks in this process's memory."""
        return BlockBuffer(self.cache, self.rows, self.windows)

    def advise(self, blocks: Tensor) -> None:
        """Tell the operating system that these blocks of `windows` will be read soon."""
        images = self.windows.images_of(blocks.sort().values)
        self.cache.advise(self.rows[images[images < len(self.rows)]])


class PixelBatchSampler(DistributedSampler[Tensor]):
    """Shuffled batches of pixel positions, the same for any number of processes.

    An epoch is `passes` permutations of all pixels, one after the other, cut into full batches: the
    remainder of a pass is carried into the next (such a batch may hold a pixel twice), the remainder of
    the epoch is dropped, fewer than `batch_size` pixels. If an epoch has fewer pixels than one batch, it
    is one smaller batch of all of them. `Windows` says how a pass of more pixels than memory holds is
    permuted; remainders of its windows are carried likewise.

    The order depends on `seed` and the epoch only: not on the global random state, not on the number of
    processes. Each process gets a contiguous share of every batch; shares differ by at most one pixel.

    Args:
        num_pixels: the length of the data set.
        batch_size: pixels per batch over **all** processes.
        seed: at least 0.
        passes: how often an epoch goes over the pixels.
        windows: shuffle these windows one after the other instead of all pixels at once.
        ahead: told the blocks of the next window when one begins, `PixelDataset.advise` for instance.
        num_replicas: number of processes.
        rank: this process, in [0, num_replicas).

    Attributes:
        first: number of the batch that an epoch begins with, 0 unless it was broken off before.

    Raises:
        ConfigError: an argument is too small, or a batch is too small to give every process a pixel.
        ValueError: `rank` is not in [0, num_replicas).

    Example:
        >>> sampler = PixelBatchSampler(num_pixels=5, batch_size=2, passes=2)
        >>> len(sampler), [len(batch) for batch in sampler]
        (5, [2, 2, 2, 2, 2])
        >>> sampler.set_epoch(1)  # another order; Lightning does this
    """

    def __init__(
        self,
        num_pixels: int,
        batch_size: int,
        *,
        seed: int = 0,
        passes: int = 1,
        windows: Windows | None = None,
        ahead: Callable[[Tensor], None] | None = None,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        _at_least(1, num_pixels=num_pixels, batch_size=batch_size, passes=passes)
        _at_least(0, seed=seed)
        smallest = min(batch_size, num_pixels * passes)
        if smallest < num_replicas:
            raise ConfigError(
                f"a batch of {smallest} pixels cannot be shared by {num_replicas} processes: use fewer"
            )
        # The base class only wants a length.
        super().__init__(cast("Dataset[Tensor]", range(num_pixels)), num_replicas, rank, seed=seed)
        self.num_pixels = num_pixels
        self.batch_size = batch_size
        self.passes = passes
        self.first = 0
        self._windows = windows or Windows(num_pixels, 1, num_pixels, 1)
        self._ahead = ahead
        if self._windows.num_pixels != num_pixels:
            raise ValueError(f"windows: expected {num_pixels} pixels, got {self._windows.num_pixels}")

    def __len__(self) -> int:
        return max(self.num_pixels * self.passes // self.batch_size, 1)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield this process's share of each batch: int64 positions in [0, num_pixels)."""
        for batch in islice(self._global_batches(), self.first, None):
            # A copy: sending a slice to a worker would put the whole permutation into shared memory.
            yield batch.tensor_split(self.num_replicas)[self.rank].clone()

    def _global_batches(self) -> Iterator[Tensor]:
        # SeedSequence, as seed + epoch would give epoch 1 of seed 0 the order of epoch 0 of seed 1.
        mixed = int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(mixed)
        carried = torch.empty(0, dtype=torch.int64)
        passes = (self._windows.order(generator, self._ahead) for _ in range(self.passes))
        for positions in chain.from_iterable(passes):
            order = torch.cat([carried, positions])
            num_full = len(order) // self.batch_size
            for start in range(0, num_full * self.batch_size, self.batch_size):
                yield order[start : start + self.batch_size]
            carried = order[num_full * self.batch_size :].clone()
        if self.num_pixels * self.passes < self.batch_size:
            yield carried


class RowBatchSampler(DistributedSampler[list[int]]):
    """Batches of image rows in order, every row exactly once over all processes: nothing padded or dropped.

    Each process goes through a contiguous block of the rows; blocks differ by at most one row, so the
    number of batches may differ by one between processes: nothing collective may happen per batch.

    Args:
        rows: the image rows, `range(n)` for all.
        batch_size: rows per batch of this process; its last batch may be smaller.
        num_replicas: number of processes.
        rank: this process, in [0, num_replicas).

    Raises:
        ConfigError: `batch_size` is below 1, or there are fewer rows than processes.
        ValueError: `rank` is not in [0, num_replicas).

    Example:
        >>> list(RowBatchSampler(range(5), batch_size=2))
        [[0, 1], [2, 3], [4]]
        >>> [list(RowBatchSampler(range(5), 2, num_replicas=2, rank=rank)) for rank in (0, 1)]
        [[[0, 1], [2]], [[3, 4]]]
    """

    def __init__(
        self, rows: Tensor | Sequence[int], batch_size: int, *, num_replicas: int = 1, rank: int = 0
    ) -> None:
        _at_least(1, batch_size=batch_size)
        if len(rows) < num_replicas:
            raise ConfigError(
                f"{len(rows)} image rows cannot be shared by {num_replicas} processes: use fewer"
            )
        super().__init__(cast("Dataset[list[int]]", rows), num_replicas, rank, shuffle=False)
        self.batch_size = batch_size
        self.rows: list[int] = torch.as_tensor(rows).tensor_split(num_replicas)[rank].tolist()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this process, each a list of at most `batch_size` rows."""
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows[start : start + self.batch_size]


def _at_least(minimum: int, **values: int) -> None:
    for name, value in values.items():
        if value < minimum:
            raise ConfigError(f"{name} must be at least {minimum}, got {value}")
