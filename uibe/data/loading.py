"""A loader that can go on in the middle of an epoch."""

from collections.abc import Iterator
from typing import Any, TypedDict, cast

from torch import Tensor
from torch.utils.data import DataLoader

from uibe.data.pixels import PixelBatchSampler
from uibe.errors import MismatchError

__all__ = ["ResumableLoader"]


class _Progress(TypedDict):
    """How many batches of an epoch were given, out of how many of which size."""

    given: int
    batches: int
    batch_size: int


class ResumableLoader(DataLoader[Tensor]):
    """A `DataLoader` over a `PixelBatchSampler` whose place in the epoch can be kept in a checkpoint.

    Lightning calls `state_dict` and `load_state_dict`. The order of an epoch follows from the seed and the
    epoch's number alone, so that the number of batches given says everything, also of a run that goes on
    with another number of processes or workers.

    Example:
        >>> import torch
        >>> sampler = PixelBatchSampler(num_pixels=6, batch_size=2)
        >>> def loader():
        ...     return ResumableLoader(torch.arange(6), batch_size=None, sampler=sampler)
        >>> first = loader()
        >>> batches = iter(first)
        >>> _, state = next(batches), first.state_dict()
        >>> again = loader()
        >>> again.load_state_dict(state)
        >>> [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]
        True
    """

    _given, _first = 0, 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The rest of a resumed epoch, then whole ones."""
        # a generator begins when the first batch is asked for, when the sampler knows its epoch
        sampler = self._pixel_sampler
        sampler.first = self._given = self._first
        self._first = 0
        for batch in super().__iter__():
            sampler.first = 0
            self._given += 1
            yield batch

    def state_dict(self) -> _Progress:
        """How far the epoch is."""
        sampler = self._pixel_sampler
        return {"given": self._given, "batches": len(sampler), "batch_size": sampler.batch_size}

    def load_state_dict(self, state: _Progress) -> None:
        """Go on after the batches that were given, with the next iteration.

        Raises:
            MismatchError: if batches of another size would not go on where those ended.
        """
        own = self.state_dict()
        if state["given"] >= state["batches"]:
            self._first = 0  # the epoch was over
            return
        if (own["batches"], own["batch_size"]) != (state["batches"], state["batch_size"]):
            raise MismatchError(
                f"ckpt_path: written within an epoch of {state['batches']} batches of {state['batch_size']}, "
                f"this run has {own['batches']} of {own['batch_size']}: give its data.pixels_per_batch and "
                "data.passes_per_epoch, or a checkpoint from the end of an epoch"
            )
        self._first = self._given = state["given"]

    @property
    def _pixel_sampler(self) -> PixelBatchSampler:
        return cast("PixelBatchSampler", self.sampler)
