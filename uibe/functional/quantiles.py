"""Exact upper quantiles of every column of a stream.

A sketch would make thresholds depend on batch order and the number of processes. The largest values of
each column are kept instead: merging two sets of them is exact and commutes, so the result is the true
order statistic, in memory proportional to the share that is sought. Where that is too much, the bits of
the result are found from counts, the highest first, in several passes.
"""

import sys
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

__all__ = ["column_quantiles", "merge_largest"]

_MEMORY = 256 * 2**20  # bytes of largest values to keep
_BITS = 11  # to find in a pass: 2048 counts a column
_NARROW, _WIDE = (torch.float32, torch.int32), (torch.float64, torch.int64)  # a type and that of its bits


def merge_largest(largest: Tensor | None, values: Tensor, keep: int) -> Tensor:
    """Keep the `keep` largest values of each row of `(I, n)`, as `(I, <= keep)` in falling order.

    Example:
        >>> merge_largest(torch.tensor([[5.0, 1.0]]), torch.tensor([[3.0, 4.0]]), keep=3).tolist()
        [[5.0, 4.0, 3.0]]
    """
    merged = values if largest is None else torch.cat([largest, values], dim=1)
    return merged.topk(min(keep, merged.shape[1]), dim=1).values


def column_quantiles(
    batches: Iterable[Tensor],
    share: float,
    total: int,
    memory: int = _MEMORY,
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """For each column the value that a share of all rows exceeds, number `floor(share * P) + 1` from the top.

    At most `floor(share * P)` rows lie strictly above it; NetDissect's threshold is `share=0.005`.
    The order of the rows and their division into batches do not matter.

    Args:
        batches: `(p, I)` floating tensors.
        share: in `[0, 1)`.
        total: `P`, the number of rows of all batches together, those of other processes included.
        memory: bytes for the largest values; if they need more, the batches are read several times, unless
            they are an iterator, which ends with its first pass.
        add_up: sums a tensor over the processes that have a part of the rows each, and at least one;
            `uibe.functional.processes.global_sum`, or None if the rows are all here. Only counts are sent.

    Returns:
        `(I,)`, of the dtype of the batches.

    Raises:
        ValueError: if `share` is out of range, a value is NaN, or the batches do not hold `total` rows.

    Example:
        >>> column_quantiles(torch.arange(10.0)[:, None].split(3), share=0.2, total=10)
        tensor([7.])
    """
    if not 0 <= share < 1:
        raise ValueError(f"expected a share in [0, 1), got {share}")
    keep, largest = int(share * total) + 1, None
    memory = memory if iter(batches) is not batches else sys.maxsize
    waiting: list[Tensor] = []
    for values in _checked(batches, total, add_up):
        if keep * values.shape[1] * values.element_size() > memory:
            return _from_counts(lambda: _checked(batches, total, add_up), keep, add_up)
        waiting.append(values.T)
        # as many at once as are kept, or the time would grow with the square of the rows
        if sum(each.shape[1] for each in waiting) >= keep:
            largest, waiting = merge_largest(largest, torch.cat(waiting, 1), keep), []
    if waiting:
        largest = merge_largest(largest, torch.cat(waiting, 1), keep)
    if largest is None:
        return torch.empty(0)
    # no value that is not among the largest of its process can be among those of all
    return largest[:, -1].contiguous() if add_up is None else _from_counts(lambda: [largest.T], keep, add_up)


def _checked(
    batches: Iterable[Tensor], total: int, add_up: Callable[[Tensor], Tensor] | None
) -> Iterator[Tensor]:
    """One pass over the batches."""
    rows, device = 0, torch.device("cpu")
    for values in batches:
        device = values.device
        if values.isnan().any():
            raise ValueError("expected finite values to take a quantile of, got NaN")
        rows += len(values)
        yield values
    if add_up is not None:
        rows = int(add_up(torch.tensor(rows, device=device)))
    if rows != total:
        raise ValueError(f"expected {total} rows to take a quantile of, got {rows}")


def _from_counts(
    batches: Callable[[], Iterable[Tensor]], keep: int, add_up: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """The value number `keep` from the top of each column, in memory that depends on neither number."""
    first = next(iter(batches()))
    floats, integers = _WIDE if first.dtype == torch.float64 else _NARROW
    rank = torch.full((first.shape[1], 1), keep, device=first.device)
    # the least that the bits so far, as a number, can be followed by
    lowest = torch.full_like(rank, -(2 ** (_BITS - 1)))
    for shift in reversed(range(0, torch.iinfo(integers).bits, _BITS)):
        counts = torch.zeros(first.shape[1], 2**_BITS, dtype=torch.int64, device=first.device)
        for values in batches():
            digit = (_ordered(values.T.to(floats).view(integers)) >> shift).long() - lowest
            inside = (digit >= 0) & (digit < 2**_BITS)
            counts.scatter_add_(1, digit.clamp(0, 2**_BITS - 1), inside.long())
        counts = counts if add_up is None else add_up(counts)
        above = counts.flip(1).cumsum(1).flip(1)  # how many have this digit or a larger one
        digit = (above >= rank).sum(1, keepdim=True) - 1
        rank = rank - (above - counts).gather(1, digit)
        found = lowest + digit
        lowest = found << _BITS
    return _ordered(found[:, 0].to(integers)).view(floats).to(first.dtype)


def _ordered(bits: Tensor) -> Tensor:
    """Bits of floating numbers as integers in the order of the numbers; and back."""
    return bits ^ ((bits >> (torch.iinfo(bits.dtype).bits - 1)) & torch.iinfo(bits.dtype).max)
