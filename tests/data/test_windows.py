"""Windows: every pixel once, memory as promised, and pixels of many blocks side by side."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uibe.data.windows import Windows


def windows_of(windows: Windows, seed: int = 0) -> list[Tensor]:
    return list(windows.order(torch.Generator().manual_seed(seed)))


geometries = st.builds(
    Windows, st.integers(1, 40), st.integers(1, 5), st.integers(1, 7), st.integers(1, 6)
)  # images, area, images of a block, blocks of a window


@settings(deadline=None, max_examples=100)
@given(geometries)
def test_a_pass_is_a_permutation_in_which_few_blocks_are_open_at_a_time(windows: Windows) -> None:
    parts = windows_of(windows)
    assert len(parts) == windows.num_windows
    assert sorted(torch.cat(parts).tolist()) == list(range(windows.num_pixels))
    blocks = [set((part // windows.area // windows.images_per_block).tolist()) for part in parts]
    assert max(map(len, blocks)) <= windows.blocks_per_window
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
    assert sum(map(len, blocks)) == windows.num_blocks  # no block is in two windows


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 5000), st.integers(1, 60), st.integers(1, 9), st.integers(1, 400))
def test_windows_keep_to_the_budget(budget: int, num_images: int, area: int, image_bytes: int) -> None:
    windows = Windows.within(budget, num_images, area, image_bytes)
    taken = windows.images_per_block * windows.blocks_per_window * image_bytes
    assert taken <= max(budget, image_bytes)
    assert taken > budget * 255 / 256 - image_bytes
    if num_images * image_bytes <= budget * 255 / 256:
        assert windows.num_windows == 1


def test_what_fits_is_shuffled_whole() -> None:
    expected = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    for windows in (Windows(10, 3, 2, 5), Windows(10, 3, 4, 99), Windows.within(40, 10, 3, 4)):
        (order,) = windows_of(windows, seed=3)
        assert order.equal(expected)


def test_the_next_window_is_announced() -> None:
    told: list[set[int]] = []
    windows = Windows(23, 2, 3, 3)
    order = windows.order(torch.Generator().manual_seed(0), lambda blocks: told.append(set(blocks.tolist())))
    found = [set((part // 6).tolist()) for part in order]
    assert told == found[1:]


def test_neighbours_in_the_order_come_from_different_blocks() -> None:
    windows = Windows(num_images=2000, area=4, images_per_block=10, blocks_per_window=50)
    block = torch.cat(windows_of(windows)) // windows.block_pixels
    alike = (block[1:] == block[:-1]).double().mean()
    assert alike < 1.3 / 50  # one in fifty by chance
    drawn = [len(set(batch.tolist())) for batch in block.split(100)]
    assert min(drawn) > 30


def test_other_passes_make_other_windows() -> None:
    windows = Windows(num_images=2000, area=1, images_per_block=10, blocks_per_window=50)
    members = [
        [set((part // 10).tolist()) for part in windows_of(windows, seed)] for seed in (0, 1)
    ]  # four windows of fifty blocks each time
    shared = [len(one & other) for one in members[0] for other in members[1]]
    assert max(shared) < 25  # 12.5 by chance


@pytest.mark.parametrize("budget", [0, 1, 99])
def test_at_least_one_image_is_taken(budget: int) -> None:
    assert Windows.within(budget, 5, 2, 100) == Windows(5, 2, 1, 1)
