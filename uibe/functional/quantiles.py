"""Exact upper quantiles of every column of a stream.

A sketch would make thresholds depend on batch order and the number of processes. The largest values of
each column are kept instead: merging two sets of them is exact and commutes, so the result is the true
order statistic, in memory proportional to the share that is sought.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["column_quantiles", "merge_largest"]


def merge_largest(largest: Tensor | None, values: Tensor, keep: int) -> Tensor:
    """Keep the `keep` largest values of each row of `(I, n)`, as `(I, <= keep)` in falling order.

    Example:
        >>> merge_largest(torch.tensor([[5.0, 1.0]]), torch.tensor([[3.0, 4.0]]), keep=3).tolist()
        [[5.0, 4.0, 3.0]]
    """
    merged = values if largest is None else torch.cat([largest, values], dim=1)
    return merged.topk(min(keep, merged.shape[1]), dim=1).values


def column_quantiles(batches: Iterable[Tensor], share: float, total: int) -> Tensor:
    """For each column the value that a share of all rows exceeds, number `floor(share * P) + 1` from the top.

    At most `floor(share * P)` rows lie strictly above it; NetDissect's threshold is `share=0.005`.
    The order of the rows and their division into batches do not matter.

    Args:
        batches: `(p, I)` floating tensors.
        share: in `[0, 1)`.
        total: `P`, the number of rows of all batches together.

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
    keep, largest, rows = int(share * total) + 1, None, 0
    for values in batches:
        if values.isnan().any():
            raise ValueError("expected finite values to take a quantile of, got NaN")
        largest = merge_largest(largest, values.T, keep)
        rows += len(values)
    if largest is None or rows != total:
        raise ValueError(f"expected {total} rows to take a quantile of, got {rows}")
    return largest[:, -1].contiguous()
