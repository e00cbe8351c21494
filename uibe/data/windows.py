"""Shuffling of more pixels than memory holds: blocks of images in random order, then pixels among them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["Windows"]

_BLOCKS_PER_WINDOW = 256


@dataclass(frozen=True)
class Windows:
    """A division of pixels into blocks of consecutive images, of which a window holds several at a time.

    A pass that fits one window is a permutation of all pixels. Otherwise it is a permutation of the blocks,
    divided evenly into windows, and a permutation of the pixels within each window. So two pixels can meet
    in a batch if their blocks fall into the same window, which another pass draws anew; two pixels of one
    block meet more often than others: at 256 blocks a window, 1 in 256 of a pixel's companions comes from
    its own block, whatever the size of the set. A batch of 4096 is then a sample from 256 random places of
    the data set. That is enough for losses that are means over a batch: what the places of one window have in
    common does not repeat in the next pass.

    Attributes:
        num_images: images in all.
        area: pixels of an image.
        images_per_block: consecutive images that are read together; the last block may be smaller.
        blocks_per_window: blocks that may be in memory at a time.

    Example:
        >>> windows = Windows(num_images=4, area=2, images_per_block=1, blocks_per_window=2)
        >>> windows.num_windows
        2
        >>> torch.cat(list(windows.order(torch.Generator().manual_seed(0)))).sort().values.tolist()
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    num_images: int
    area: int
    images_per_block: int
    blocks_per_window: int

    @classmethod
    def within(cls, budget: int, num_images: int, area: int, image_bytes: int) -> Self:
        """As large windows as a number of bytes allows, each of 256 blocks or nearly so.

        Args:
            budget: bytes that a window may take; at least one image is taken anyway.
            num_images: images in all.
            area: pixels of an image.
            image_bytes: bytes of an image's features.

        Example:
            >>> Windows.within(512 * 2**20, num_images=63305, area=49, image_bytes=512 * 49 * 2)
            Windows(num_images=63305, area=49, images_per_block=41, blocks_per_window=260)
        """
        images = max(1, budget // image_bytes)
        per_block = max(1, images // _BLOCKS_PER_WINDOW)
        return cls(num_images, area, per_block, images // per_block)

    @property
    def num_pixels(self) -> int:
        """Pixels in all."""
        return self.num_images * self.area

    @property
    def block_pixels(self) -> int:
        """Pixels of a block."""
        return self.images_per_block * self.area

    @property
    def num_blocks(self) -> int:
        """Blocks in all."""
        return -(-self.num_images // self.images_per_block)

    @property
    def num_windows(self) -> int:
        """Windows in a pass."""
        return -(-self.num_blocks // self.blocks_per_window)

    def images_of(self, blocks: Tensor) -> Tensor:
        """The images of some blocks, one block after the other; those of the last block may not all exist."""
        return (blocks[:, None] * self.images_per_block + torch.arange(self.images_per_block)).flatten()

    def order(
        self, generator: torch.Generator, ahead: Callable[[Tensor], None] | None = None
    ) -> Iterator[Tensor]:
        """The positions of one pass, shuffled, window by window.

        Args:
            generator: decides the order.
            ahead: told the blocks of the window that comes next, before the current one is yielded.

        Returns:
            int64 tensors, together a permutation of all pixels' positions.
        """
        if self.num_windows == 1:
            yield torch.randperm(self.num_pixels, generator=generator)
            return
        # evenly, as a last window of few blocks would give batches of few images
        windows = torch.randperm(self.num_blocks, generator=generator).tensor_split(self.num_windows)
        for blocks, following in zip(windows, [*windows[1:], None], strict=True):
            if ahead is not None and following is not None:
                ahead(following)
            positions = self._positions(blocks)
            yield positions[torch.randperm(len(positions), generator=generator)]

    def _positions(self, blocks: Tensor) -> Tensor:
        positions = (self.images_of(blocks)[:, None] * self.area + torch.arange(self.area)).flatten()
        return positions[positions < self.num_pixels]
