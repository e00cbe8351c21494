"""Samplers: every pixel as often as promised, the same batches for any number of processes."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DistributedSampler

from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.pixels import PixelBatchSampler, PixelDataset, RowBatchSampler
from uibe.errors import ConfigError, DataError, MismatchError

sizes = st.integers(1, 40)


def batches_of(num_pixels: int, batch_size: int, epoch: int = 0, **options: int) -> list[Tensor]:
    sampler = PixelBatchSampler(num_pixels, batch_size, **options)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


@settings(deadline=None, max_examples=60)
@given(num_pixels=sizes, batch_size=sizes, passes=st.integers(1, 4), epoch=st.integers(0, 3))
def test_every_pixel_comes_passes_times_up_to_the_remainder(
    num_pixels: int, batch_size: int, passes: int, epoch: int
) -> None:
    batches = batches_of(num_pixels, batch_size, epoch, passes=passes)
    positions = torch.cat(batches).tolist()
    assert all(batch.dtype == torch.int64 for batch in batches)
    whole = num_pixels * passes
    assert len(positions) == (whole if whole < batch_size else whole // batch_size * batch_size)
    assert {len(batch) for batch in batches} == {min(batch_size, whole)}
    missing = Counter(dict.fromkeys(range(num_pixels), passes))
    missing.subtract(positions)
    assert all(0 <= count <= -(-batch_size // num_pixels) for count in missing.values())
    for start in range(0, len(positions) - num_pixels + 1, num_pixels):
        assert len(set(positions[start : start + num_pixels])) == num_pixels  # each pass is a permutation


@settings(deadline=None, max_examples=40)
@given(num_pixels=st.integers(4, 60), batch_size=st.integers(4, 30), passes=st.integers(1, 3))
def test_shares_of_the_processes_make_up_the_batches_of_one(
    num_pixels: int, batch_size: int, passes: int
) -> None:
    whole = batches_of(num_pixels, batch_size, 2, passes=passes)
    for num_replicas in (2, 3):
        ranks = [
            batches_of(num_pixels, batch_size, 2, passes=passes, num_replicas=num_replicas, rank=rank)
            for rank in range(num_replicas)
        ]
        for batch, *shares in zip(whole, *ranks, strict=True):
            assert torch.cat(shares).equal(batch)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_order_depends_on_seed_epoch_and_pass_only() -> None:
    first = torch.cat(batches_of(1000, 100))
    assert torch.cat(batches_of(1000, 100)).equal(first)
    others = [
        torch.cat(batches_of(1000, 100, 1)),
        torch.cat(batches_of(1000, 100, seed=1)),
        torch.cat(batches_of(1000, 100, 1, seed=1)),
        torch.cat(batches_of(1000, 100, passes=2)[10:]),
    ]
    orders = {tuple(order.tolist()) for order in [first, *others]}
    assert len(orders) == 5
    assert torch.cat(batches_of(1000, 250)).equal(first)  # the batch size does not change the order


def test_a_second_iteration_repeats_the_epoch() -> None:
    sampler = PixelBatchSampler(50, 10)
    assert torch.cat(list(sampler)).equal(torch.cat(list(sampler)))


def test_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = batches_of(100, 10)
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(2)
    assert torch.cat(batches_of(100, 10)).equal(torch.cat(first))


def test_fewer_pixels_than_a_batch_make_one_batch() -> None:
    (batch,) = batches_of(5, 100)
    assert sorted(batch.tolist()) == [0, 1, 2, 3, 4]
    (batch,) = batches_of(5, 100, passes=2)
    assert sorted(batch.tolist()) == sorted([0, 1, 2, 3, 4] * 2)


def test_batches_own_their_memory() -> None:
    # A view would drag the whole permutation along when it is sent to a worker.
    assert all(batch.untyped_storage().nbytes() == 80 for batch in batches_of(1000, 10))


@pytest.mark.parametrize("name", ["num_pixels", "batch_size", "passes", "seed"])
def test_too_small_arguments_are_named(name: str) -> None:
    options = {"num_pixels": 10, "batch_size": 5, "passes": 1, "seed": 0, name: -1}
    with pytest.raises(ConfigError, match=f"{name} must be at least"):
        PixelBatchSampler(**options)


def test_batches_too_small_for_the_processes() -> None:
    with pytest.raises(ConfigError, match="batch of 2 pixels cannot be shared by 3 processes"):
        PixelBatchSampler(100, 2, num_replicas=3)
    with pytest.raises(ConfigError, match="4 image rows cannot be shared by 5 processes"):
        RowBatchSampler(range(4), 2, num_replicas=5)


@pytest.mark.parametrize("sampler", [PixelBatchSampler(9, 2), RowBatchSampler(range(9), 2)])
def test_lightning_leaves_these_samplers_alone(sampler: object) -> None:
    assert isinstance(sampler, DistributedSampler)  # Lightning's condition for not wrapping a sampler


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.integers(0, 99), min_size=3, max_size=30),
    batch_size=sizes,
    num_replicas=st.integers(1, 3),
)
def test_rows_come_in_order_and_exactly_once(rows: list[int], batch_size: int, num_replicas: int) -> None:
    samplers = [
        RowBatchSampler(rows, batch_size, num_replicas=num_replicas, rank=rank)
        for rank in range(num_replicas)
    ]
    batches = [batch for sampler in samplers for batch in sampler]
    assert [row for batch in batches for row in batch] == rows
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]
    assert all(0 < len(batch) <= batch_size for batch in batches)


def test_rows_may_be_a_tensor() -> None:
    assert list(RowBatchSampler(torch.tensor([4, 2, 9]), 2)) == [[4, 2], [9]]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return fill(tmp_path, CacheKey(dtype="float32"), 4, [torch.arange(48.0).view(4, 3, 2, 2)])


def test_dataset_holds_the_pixels_of_its_rows(cache: FeatureCache) -> None:
    pixels = PixelDataset(cache, rows=[3, 1])
    expected = cache.features([3, 1]).permute(0, 2, 3, 1).reshape(-1, 3)
    assert len(pixels) == 8
    assert pixels[torch.arange(8)].equal(expected)
    assert pixels[[7, 0]].equal(expected[[7, 0]])


def test_dataset_refuses_what_is_outside(cache: FeatureCache) -> None:
    with pytest.raises(MismatchError, match=r"image row 4 is outside \[0, 4\)"):
        PixelDataset(cache, rows=[0, 4])
    with pytest.raises(MismatchError, match=r"pixel position -1 is outside \[0, 4\)"):
        PixelDataset(cache, rows=[0])[[-1]]
    with pytest.raises(DataError, match="no image rows were chosen"):
        PixelDataset(cache, rows=[])
