"""Pixels through a bounded buffer: the values of direct reads, for any positions and any budget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.indices import pixel_indices
from uibe.data.pixels import PixelBatchSampler, PixelDataset
from uibe.data.rows import RowFile
from uibe.errors import MismatchError

NUM_IMAGES, AREA = 12, 6
IMAGE_BYTES = 5 * AREA * 2


@pytest.fixture(scope="module", params=["float32", "float16", "bfloat16"])
def cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    features = torch.arange(NUM_IMAGES * 5.0 * AREA).view(NUM_IMAGES, 5, 3, 2)
    key = CacheKey(dtype=request.param)
    return fill(tmp_path_factory.mktemp("cache"), key, NUM_IMAGES, features.split(5))


def direct(cache: FeatureCache, rows: list[int]) -> Tensor:
    """The pixels of rows as numpy maps them."""
    return cache.pixels(pixel_indices(rows, cache.feature_size))


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.integers(0, NUM_IMAGES - 1), min_size=1, max_size=15),
    budget=st.integers(0, 15 * IMAGE_BYTES * 2),
    data=st.data(),
)
def test_any_positions_give_what_direct_reads_give(
    cache: FeatureCache, rows: list[int], budget: int, data: st.DataObject
) -> None:
    pixels = PixelDataset(cache, rows, budget)
    expected = direct(cache, rows)
    for _ in range(3):
        positions = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=40))
        assert pixels[positions].equal(expected[positions])
    assert pixels.buffer.num_bytes <= max(budget, cache.image_bytes)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.sets(st.integers(0, NUM_IMAGES - 1), min_size=1),
    budget=st.integers(0, NUM_IMAGES * IMAGE_BYTES * 2),
    batch_size=st.integers(1, 50),
    passes=st.integers(1, 3),
)
def test_an_epoch_reads_each_block_once_a_pass_and_yields_each_pixel(
    cache: FeatureCache, rows: set[int], budget: int, batch_size: int, passes: int
) -> None:
    pixels = PixelDataset(cache, sorted(rows), budget)
    sampler = PixelBatchSampler(
        len(pixels), batch_size, passes=passes, windows=pixels.windows, ahead=pixels.advise
    )
    found = torch.cat([pixels[batch] for batch in sampler])
    assert len(sampler) == len(list(sampler))
    whole = min(len(found) // len(pixels), passes)
    expected = direct(cache, sorted(rows))[:, 0].repeat(whole)
    assert found[: len(expected), 0].sort().values.equal(expected.sort().values)
    windows = pixels.windows
    if batch_size <= min(map(len, windows.order(torch.Generator()))):
        # what the last window of a pass left may be replaced before the next pass has used it up
        again = (passes - 1) * windows.blocks_per_window
        assert pixels.buffer.num_loaded <= passes * windows.num_blocks + again
    if windows.num_windows == 1:
        assert pixels.buffer.num_loaded <= windows.num_blocks


@pytest.mark.parametrize("budget", [3 * IMAGE_BYTES, 10**6])
def test_order_does_not_depend_on_processes_or_workers(cache: FeatureCache, budget: int) -> None:
    pixels = PixelDataset(cache, range(NUM_IMAGES), budget)

    def batches(num_workers: int = 0, **share: int) -> list[Tensor]:
        sampler = PixelBatchSampler(len(pixels), 10, windows=pixels.windows, **share)
        sampler.set_epoch(1)
        return list(DataLoader(pixels, batch_size=None, sampler=sampler, num_workers=num_workers))

    alone = batches()
    assert torch.stack(batches(num_workers=2)).equal(torch.stack(alone))
    shares = [batches(num_replicas=3, rank=rank) for rank in range(3)]
    assert torch.stack([torch.cat(parts) for parts in zip(*shares, strict=True)]).equal(torch.stack(alone))


def test_buffer_stays_out_of_pickles(cache: FeatureCache) -> None:
    pixels = PixelDataset(cache, range(NUM_IMAGES))
    before = pixels.__getstate__()
    assert len(pixels[[0]]) == 1
    assert pixels.__getstate__().keys() == before.keys()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_nothing_is_mapped(cache: FeatureCache) -> None:
    pixels = PixelDataset(cache, range(NUM_IMAGES))
    kept = (pixels[[0, 40]], cache.features([3]), cache.pixels([3]))
    assert len(kept) == 3
    assert str(cache.path) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_windows_of_another_set_are_refused(cache: FeatureCache) -> None:
    windows = PixelDataset(cache, [0, 1]).windows
    with pytest.raises(ValueError, match="windows: expected 99 pixels, got 12"):
        PixelBatchSampler(99, 5, windows=windows)


def test_file_that_was_cut_is_named(tmp_path: Path) -> None:
    cache = fill(tmp_path, CacheKey(dtype="float32"), 4, [torch.ones(4, 3, 2, 2)])
    array = cache.path / "features-00000.npy"
    assert len(cache.features([2])) == 1
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(MismatchError, match=r"features-00000\.npy: shorter than it was"):
        cache.features([2])


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> RowFile:
    path = tmp_path_factory.mktemp("rows") / "numbers.npy"
    np.save(path, np.arange(60, dtype=np.int32).reshape(20, 3))
    return RowFile.open_npy(path, 12)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.integers(0, 9), st.integers(0, 19)))
def test_rows_go_to_their_places(numbers: RowFile, wanted: dict[int, int]) -> None:
    room = torch.full((10, 3), -1, dtype=torch.int32)
    places, rows = (torch.tensor([*part], dtype=torch.int64) for part in (wanted.keys(), wanted.values()))
    numbers.advise(rows)
    numbers.read_into(room, places, rows)
    expected = np.full((10, 3), -1)
    for place, row in wanted.items():
        expected[place] = [3 * row, 3 * row + 1, 3 * row + 2]
    np.testing.assert_array_equal(room.numpy(), expected)
