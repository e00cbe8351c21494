"""Samples are uniform and exact, blocks and batches hold every pixel once."""

import pytest
import torch

from tests.peers.planted import PixelFeatures
from uibe.errors import ConfigError, DataError
from uibe.functional.moments import pixel_moments
from uibe.peers.sample import pixel_blocks, sample_pixels, shuffled_positions, sum_moments
from uibe.peers.signs import towards_positive_skewness, unit_rows

NUMBERED = torch.arange(40.0)[:, None]  # each pixel holds its position


def test_samples_are_drawn_without_replacement_in_order() -> None:
    drawn = sample_pixels(PixelFeatures(NUMBERED), 15, seed=0)
    assert drawn.shape == (15, 1)
    assert bool((drawn.diff(dim=0) > 0).all())


def test_all_pixels_are_taken_if_there_are_fewer() -> None:
    for num in (40, 41):
        assert torch.equal(sample_pixels(PixelFeatures(NUMBERED), num, seed=0), NUMBERED)


def test_samples_do_not_depend_on_batches() -> None:
    drawn = [sample_pixels(PixelFeatures(NUMBERED, size), 9, seed=4) for size in (1, 3, 64)]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_every_pixel_and_every_pair_is_drawn_equally_often() -> None:
    data, repeats = PixelFeatures(torch.arange(8.0)[:, None]), 800
    together = torch.zeros(8, 8)
    for seed in range(repeats):
        drawn = sample_pixels(data, 4, seed=seed)[:, 0].long()
        together[drawn[:, None], drawn] += 1
    alone, pairs = together.diagonal() / repeats, together[~torch.eye(8, dtype=torch.bool)] / repeats
    assert alone.tolist() == pytest.approx([1 / 2] * 8, abs=0.08)  # five deviations are 0.088
    assert pairs.tolist() == pytest.approx([3 / 14] * 56, abs=0.07)


def test_blocks_are_the_pixels_in_order() -> None:
    blocks = list(pixel_blocks(PixelFeatures(NUMBERED, batch_size=3), size=16))
    assert [len(block) for block in blocks] == [16, 16, 8]
    assert torch.equal(torch.cat(blocks), NUMBERED)


def test_half_precision_features_are_widened() -> None:
    data = PixelFeatures(NUMBERED)
    data.features = data.features.half()
    assert sample_pixels(data, 40).dtype == torch.float32


def test_features_that_miscount_their_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for claimed in (36, 44):
        data = PixelFeatures(NUMBERED)
        monkeypatch.setattr(data, "num_pixels", lambda split, claimed=claimed: claimed)
        with pytest.raises(DataError, match=f"expected {claimed} train pixels, found 40"):
            sample_pixels(data, 100)


def test_no_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="expected some train pixels, found 0"):
        sample_pixels(PixelFeatures(torch.empty(0, 3)), 5)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        sample_pixels(PixelFeatures(torch.full((4, 1), torch.nan)), 5)


@pytest.mark.parametrize(("num", "seed"), [(0, 0), (5, -1)])
def test_bad_sizes_and_seeds_are_refused(num: int, seed: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        sample_pixels(PixelFeatures(NUMBERED), num, seed)


def test_moments_add_up() -> None:
    pixels = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    for part, whole in zip(sum_moments(pixels.split(7), True), pixel_moments(pixels, True), strict=True):
        assert part.double().numpy() == pytest.approx(whole.double().numpy())


def test_batches_are_whole_permutations_whose_rest_is_carried() -> None:
    batches = list(shuffled_positions(10, 4, steps=5, generator=torch.Generator().manual_seed(0)))
    drawn = torch.cat(batches)
    assert [len(batch) for batch in batches] == [4] * 5
    assert drawn[:10].sort().values.tolist() == drawn[10:].sort().values.tolist() == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_batches_are_no_larger_than_what_there_is() -> None:
    [batch] = shuffled_positions(3, 4, steps=1, generator=torch.Generator().manual_seed(0))
    assert batch.sort().values.tolist() == [0, 1, 2]


def test_rows_of_zeros_are_left_out() -> None:
    rows = unit_rows(torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3e20, 4e20]]))
    assert rows.flatten().tolist() == pytest.approx([1.0, 0.0, 0.6, 0.8])


def test_signs_follow_the_long_tail() -> None:
    pixels = torch.tensor([[0.0, 7.0]] * 9 + [[-5.0, 9.0]])
    turned = towards_positive_skewness(torch.eye(2), pixels.split(3), pixels.mean(0))
    assert turned.tolist() == [[-1.0, 0.0], [0.0, 1.0]]
