"""Sums over pixels that everything starts from: moments, quantiles, means, label-free criteria."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uibe.functional.criteria import PixelSums, criteria, pixel_sums
from uibe.functional.moments import Moments, channel_variance, covariance, pixel_moments
from uibe.functional.quantiles import column_quantiles, merge_largest
from uibe.metrics.running import RunningMeans, RunningMoments

few = settings(max_examples=20)
seeds, pixels, channels = st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 5)


def drawn(pixels: int, channels: int, seed: int) -> Tensor:
    return torch.randn(pixels, channels, generator=torch.Generator().manual_seed(seed))


def in_batches(values: Tensor, seed: int) -> list[Tensor]:
    """In another order, cut at random."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(values), generator=generator)
    cuts = torch.randint(len(values) + 1, (3,), generator=generator).sort().values.tolist()
    return list(values[order].tensor_split(cuts))


@few
@given(pixels=pixels, channels=channels, seed=seeds, full=st.booleans())
def test_moments_of_any_batches_are_those_of_all_pixels_in_full_shapes(
    pixels: int, channels: int, seed: int, full: bool
) -> None:
    values = drawn(pixels, channels, seed)
    running = RunningMoments(channels, full)
    for batch in in_batches(values, seed):
        running.update(batch)
    for found, expected in zip(running.moments(), pixel_moments(values, full), strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected)


@few
@given(pixels=st.integers(2, 40), channels=channels, seed=seeds, factor=st.sampled_from([-3.0, 1e-6, 1e6]))
def test_spread_scales_by_the_square_and_does_not_move_with_the_mean(
    pixels: int, channels: int, seed: int, factor: float
) -> None:
    values = drawn(pixels, channels, seed).double()
    plain = covariance(pixel_moments(values, full=True))
    scaled = covariance(pixel_moments(factor * (values + 5), full=True))
    torch.testing.assert_close(scaled / factor**2, plain, rtol=1e-8, atol=1e-8)


@few
@given(
    mantissa=st.floats(1, 10, width=32),
    power=st.integers(-30, 30),
    batches=st.lists(st.integers(1, 700), min_size=1, max_size=8),
)
def test_a_constant_has_no_variance_at_any_size_in_any_batches(
    mantissa: float, power: int, batches: list[int]
) -> None:
    value = float(torch.tensor(mantissa * 10.0**power))
    parts = [pixel_moments(torch.full((size, 1), value), full=True) for size in batches]
    total = Moments(*(torch.stack(field).sum(0) for field in zip(*parts, strict=True)))
    assert channel_variance(total).item() == 0
    assert covariance(total).item() == 0


def test_a_spread_of_a_few_steps_of_float32_around_a_far_mean_is_kept() -> None:
    values = 1000 + 0.01 * drawn(5000, 1, seed=0)
    found = channel_variance(pixel_moments(values)).item()
    assert found == pytest.approx(values.double().var(correction=0).item(), rel=1e-4)


def test_a_constant_channel_covaries_with_nothing() -> None:
    values = drawn(600, 3, seed=1)
    values[:, 1] = 98765.4321
    found = covariance(pixel_moments(values, full=True))
    assert not found[1].any()
    assert not found[:, 1].any()
    assert found[[0, 0, 2], [0, 2, 2]].all()


@few
@given(pixels=pixels, channels=channels, seed=seeds, share=st.floats(0, 0.99))
def test_quantiles_follow_their_columns_and_any_rising_scale(
    pixels: int, channels: int, seed: int, share: float
) -> None:
    values = drawn(pixels, channels, seed)
    plain = column_quantiles([values], share, pixels)
    assert torch.equal(column_quantiles(in_batches(values, seed), share, pixels), plain)
    assert torch.equal(column_quantiles([values.flip(1)], share, pixels), plain.flip(0))
    assert torch.equal(column_quantiles([4 * values], share, pixels), 4 * plain)
    assert ((values > plain).sum(0) <= share * pixels).all()
    assert ((values >= plain).sum(0) > share * pixels).all()


@few
@given(pixels=pixels, channels=channels, seed=seeds, shares=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_a_larger_share_lies_above_a_lower_threshold(
    pixels: int, channels: int, seed: int, shares: tuple[float, float]
) -> None:
    values = drawn(pixels, channels, seed)
    high, low = (column_quantiles([values], share, pixels) for share in sorted(shares))
    assert (high >= low).all()


@few
@given(sizes=st.lists(st.integers(1, 9), min_size=3, max_size=3), seed=seeds, keep=st.integers(1, 6))
def test_the_largest_of_three_sets_merge_in_any_order(sizes: list[int], seed: int, keep: int) -> None:
    one, two, three = drawn(2, sum(sizes), seed).split(sizes, 1)
    left = merge_largest(merge_largest(one, two, keep), three, keep)
    right = merge_largest(three, merge_largest(two, one, keep), keep)
    assert torch.equal(left, right)


@few
@given(parts=st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 99)), min_size=1, max_size=6))
def test_means_of_any_batches_are_weighted_by_their_pixels(parts: list[tuple[float, int]]) -> None:
    means = RunningMeans(["loss"])
    for value, size in parts:
        means.update({"loss": torch.tensor(value, dtype=torch.float64)}, size)
    expected = sum(value * size for value, size in parts) / sum(size for _, size in parts)
    assert float(means.compute()["loss"]) == pytest.approx(expected, abs=1e-9)


@few
@given(pixels=st.integers(2, 40), detectors=channels, seed=seeds, scale=st.sampled_from([0.1, 3.0, 1e6]))
def test_criteria_do_not_depend_on_order_or_batches(
    pixels: int, detectors: int, seed: int, scale: float
) -> None:
    logits = scale * drawn(pixels, detectors, seed).double()
    plain = criteria(pixel_sums(logits))
    parts = [pixel_sums(part) for part in in_batches(logits.flip(1), seed) if len(part)]
    added = PixelSums(*(torch.stack(each).sum(0) for each in zip(*parts, strict=True)))
    assert list(criteria(added)) == pytest.approx(list(plain), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("outlier", [0.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 10.0, 1e3, 1e4, 1e6])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("pixels", [1, 2, 60])
def test_criteria_keep_to_their_ranges_far_from_zero_and_with_outliers(
    pixels: int, scale: float, offset: float, outlier: float
) -> None:
    logits = scale * drawn(pixels, 1, seed=0) + offset
    logits[0] += outlier
    found = criteria(pixel_sums(logits))
    assert torch.tensor(found).isfinite().all()
    assert 1 - 1e-6 <= found.usage <= 1 + 1e-6
    assert all(0 <= share <= 1 for share in (found.firing_rate, found.dead, found.covered, found.single))
    assert found.kurtosis >= found.skewness**2 - 2 - 0.01  # Pearson (1916)
    assert found.kurtosis <= max(0, pixels - 4) + 0.01  # of P numbers: one outlier
