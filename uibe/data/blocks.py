"""Blocks of a feature cache in a bounded piece of memory, from which pixels are gathered."""

import torch
from torch import Tensor

from uibe.data.cache import FeatureCache
from uibe.data.windows import Windows

__all__ = ["BlockBuffer"]


class BlockBuffer:
    """The blocks that were asked for last, as many as a window has, read from disk when they are missed.

    Not a memory map: its pages count as the process's own, so that it would seem to take the whole cache.

    Args:
        cache: the features.
        rows: `(n,)` the image rows in use; block b is the b-th run of `windows.images_per_block` of them.
        windows: the blocks, and how many of them fit.

    Attributes:
        num_loaded: blocks read so far.
    """

    def __init__(self, cache: FeatureCache, rows: Tensor, windows: Windows) -> None:
        self._cache, self._rows, self._windows = cache, rows, windows
        self._num_slots = min(windows.num_blocks, windows.blocks_per_window)
        self._slots = cache.empty(self._num_slots * windows.images_per_block)
        self._pixels = self._slots.view(-1, cache.num_features)
        self._slot_of = torch.full((windows.num_blocks,), -1)
        self._block_in = torch.full((self._num_slots,), -1)
        self._next = 0
        self.num_loaded = 0

    @property
    def num_bytes(self) -> int:
        """Memory taken at most."""
        return self._slots.nbytes

    def gather(self, positions: Tensor) -> Tensor:
        """The pixels at n positions, `(n, D)` in the storage type."""
        block = positions // self._windows.block_pixels
        place = self._slot_of[block]
        if bool((place >= 0).all()):
            return self._gather(positions, block, place)
        found = self._pixels.new_empty(len(positions), self._pixels.shape[1])
        waiting = torch.arange(len(positions))
        while len(waiting):
            # What is here is taken first: what is loaded next may replace it.
            here = place >= 0
            ready, block_ready = waiting[here], block[here]
            found[ready] = self._gather(positions[ready], block_ready, place[here])
            waiting, block = waiting[~here], block[~here]
            self._load(block.unique()[: self._num_slots])  # type: ignore[no-untyped-call]
            place = self._slot_of[block]
        return found

    def _gather(self, positions: Tensor, block: Tensor, place: Tensor) -> Tensor:
        return self._pixels.index_select(0, positions + (place - block) * self._windows.block_pixels)

    def _load(self, blocks: Tensor) -> None:
        """Read blocks, no more than there are slots, into the slots that were filled longest ago."""
        slots = (self._next + torch.arange(len(blocks))) % self._num_slots
        self._next += len(blocks)
        replaced = self._block_in[slots]
        self._slot_of[replaced[replaced >= 0]] = -1
        images, places = self._windows.images_of(blocks), self._windows.images_of(slots)
        real = images < len(self._rows)
        self._cache.read_into(self._slots, places[real], self._rows[images[real]])
        self._block_in[slots], self._slot_of[blocks] = blocks, slots
        self.num_loaded += len(blocks)
