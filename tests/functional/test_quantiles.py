"""Upper quantiles of a stream are exact order statistics."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import quantiles as reference
from uibe.functional.quantiles import column_quantiles, merge_largest

shares = st.sampled_from([0.0, 0.005, 0.05, 0.2, 0.5, 0.99])


@settings(deadline=None, max_examples=80)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 4),
    batch=st.integers(1, 60),
    share=shares,
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([1, 3, 1000]),
)
def test_equals_sorting_for_any_size_split_order_and_ties(
    rows: int, columns: int, batch: int, share: float, seed: int, levels: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(levels, (rows, columns), generator=generator).float() / 8
    found = column_quantiles(values.split(batch), share, rows)
    assert found.tolist() == reference.column_quantiles(values.numpy(), share)
    assert bool(((values > found).sum(0) <= share * rows).all())  # at most the share lies strictly above
    assert bool(((values >= found).sum(0) > share * rows).all())  # and it is the lowest such value
    shuffled = values[torch.randperm(rows, generator=generator)]
    assert torch.equal(column_quantiles(shuffled.split(max(1, rows // 2)), share, rows), found)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 60),
    share=shares,
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    kind=st.sampled_from(["plain", "levels", "relu", "tiny", "huge", "infinite"]),
)
def test_without_memory_the_result_is_the_same(
    rows: int, share: float, seed: int, dtype: torch.dtype, kind: str
) -> None:
    values = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))
    values = {
        "plain": values,
        "levels": values.round(),
        "relu": values.relu(),
        "tiny": values * 1e-42,
        "huge": values * 1e30,
        "infinite": torch.where(values.abs() > 1, values * torch.inf, values),
    }[kind].to(dtype)
    expected = column_quantiles(values.split(7), share, rows)
    found = column_quantiles(values.split(11), share, rows, memory=0)
    assert found.dtype == dtype
    assert torch.equal(found, expected)


def test_an_iterator_is_read_once_whatever_the_memory() -> None:
    values = torch.arange(10.0)[:, None]
    assert column_quantiles(iter(values.split(3)), 0.2, 10, memory=0).tolist() == [7.0]


def test_without_memory_wrong_numbers_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 rows to take a quantile of, got 3"):
        column_quantiles([torch.ones(3, 1)], 0.1, 4, memory=0)
    with pytest.raises(ValueError, match=r"^expected finite values to take a quantile of, got NaN$"):
        column_quantiles([torch.tensor([[1.0], [float("nan")]])], 0.1, 2, memory=0)


def test_equals_numpy_partition() -> None:
    values = torch.randn(1003, 3, generator=torch.Generator().manual_seed(0))
    position = 1003 - 1 - 5  # floor(0.005 * 1003) = 5 rows lie above
    expected = np.partition(values.numpy(), position, axis=0)[position]
    assert np.array_equal(column_quantiles(values.split(100), 0.005, 1003).numpy(), expected)


def test_by_hand() -> None:
    # ten rows, share 0.25: floor(2.5) = 2 rows may lie above; the third largest of 1..10 is 8,
    # of 5,5,5,4,...: 5, of which none lies strictly above
    columns = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [5, 5, 5, 4, 3, 2, 1, 0, 0, 0]])
    rows = columns.T.float()
    assert column_quantiles([rows], 0.25, 10).tolist() == [8.0, 5.0]
    assert reference.column_quantiles(rows.numpy(), 0.25) == [8.0, 5.0]


def test_one_row_is_its_own_quantile() -> None:
    assert column_quantiles([torch.tensor([[3.0, -1.0]])], 0.9, 1).tolist() == [3.0, -1.0]


def test_share_zero_is_the_maximum() -> None:
    values = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(column_quantiles(values.split(7), 0.0, 50), values.amax(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    assert column_quantiles([torch.ones(3, 2, dtype=dtype)], 0.1, 3).dtype == dtype


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"expected a share in \[0, 1\)"):
        column_quantiles([torch.ones(3, 1)], share, 3)


@pytest.mark.parametrize("total", [2, 4])
def test_wrong_number_of_rows_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match=f"expected {total} rows to take a quantile of, got 3"):
        column_quantiles([torch.ones(3, 1)], 0.1, total)


def test_no_batches_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 rows to take a quantile of, got 0"):
        column_quantiles([], 0.1, 3)
    with pytest.raises(ValueError, match=r"^expected finite values to take a quantile of, got NaN$"):
        column_quantiles([torch.tensor([[1.0], [float("nan")]])], 0.1, 2)


def test_merging_the_largest_commutes() -> None:
    a, b = torch.tensor([[5.0, 1.0]]), torch.tensor([[3.0, 4.0, 4.5]])
    assert torch.equal(merge_largest(a, b, 3), merge_largest(b, a, 3))
    assert merge_largest(None, a, 1).tolist() == [[5.0]]


class Counted(list[torch.Tensor]):
    """Batches that know how often they were read."""

    passes = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize(("memory", "once"), [(24, True), (23, False), (6, False), (0, False)])
def test_batches_are_read_again_only_where_memory_is_short(memory: int, once: bool) -> None:
    # the three largest of two columns of float32 take 24 bytes
    batches = Counted(torch.arange(20.0).view(10, 2).split(4))
    batches.passes = 0
    assert column_quantiles(batches, 0.2, 10, memory).tolist() == [14.0, 15.0]
    # reading them once asks for an iterator twice
    assert (batches.passes <= 2) == once


def test_no_rows_at_all_have_no_quantile() -> None:
    assert column_quantiles([], 0.1, 0).shape == (0,)


@pytest.mark.parametrize("memory", [0, 10**6])
def test_neighbours_in_float64_are_told_apart(memory: int) -> None:
    values = 1 + 2.0**-50 * torch.arange(10, dtype=torch.float64)[:, None]
    assert torch.equal(column_quantiles([values], 0.2, 10, memory), values[7])


def test_values_just_beyond_a_digit_are_not_counted_with_it() -> None:
    # the bits of 1 are those of the numbers from 3 / 4 on, one digit up, followed by zeros
    values = torch.tensor([1.0] * 5 + [0.9, 0.8, 0.76, -1.0, -2.0])[:, None]
    found = [column_quantiles([values], share / 10, 10, memory=0).item() for share in range(10)]
    assert found == values[:, 0].tolist()
