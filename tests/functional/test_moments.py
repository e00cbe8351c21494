"""Moments of pixels: sums in float64 that add up."""

import numpy as np
import pytest
import torch
from torch import Tensor

from uibe.functional.moments import Moments, channel_variance, covariance, pixel_moments


def pixels(num: int = 50, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, size, generator=generator) * torch.arange(1.0, size + 1) + 3


def test_variance_and_covariance_equal_numpy() -> None:
    x = pixels()
    moments, array = pixel_moments(x, full=True), x.numpy().astype(np.float64)
    np.testing.assert_allclose(covariance(moments), np.cov(array.T, bias=True), atol=1e-12)
    np.testing.assert_allclose(channel_variance(moments), array.var(0), atol=1e-12)
    np.testing.assert_allclose(channel_variance(pixel_moments(x)), array.var(0), atol=1e-12)


def test_by_hand() -> None:
    # (1, 2) and (3, 6): means 2 and 4, variances 1 and 4, covariance 2
    moments = pixel_moments(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), full=True)
    assert (moments.num_pixels.item(), moments.total.tolist()) == (2, [4.0, 8.0])
    assert moments.squares.tolist() == [[10.0, 20.0], [20.0, 40.0]]
    assert covariance(moments).tolist() == [[1.0, 2.0], [2.0, 4.0]]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("sizes", [(1, 49), (20, 30), (7, 13, 30)])
def test_moments_of_parts_add_up(full: bool, sizes: tuple[int, ...]) -> None:
    whole = pixel_moments(pixels(), full)
    parts = [pixel_moments(part, full) for part in pixels().split(sizes)]
    added = Moments(*(torch.stack(field).sum(0) for field in zip(*parts, strict=True)))
    for found, expected in zip(added, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_sums_are_float64_and_counts_int64_for_float32_pixels() -> None:
    moments = pixel_moments(pixels())
    assert [part.dtype for part in moments] == [torch.int64, torch.float64, torch.float64]


def test_many_small_values_beside_a_large_one_are_not_lost() -> None:
    x = torch.full((10_001, 1), 1e-4)
    x[0] = 4096.0  # a float32 running sum would drop every 1e-4 that follows
    assert pixel_moments(x).total.item() == pytest.approx(4097.0, abs=1e-6)


def test_variance_of_a_constant_is_never_negative() -> None:
    assert bool((channel_variance(pixel_moments(torch.full((1000, 3), 0.1))) >= 0).all())


def test_covariance_needs_the_full_products() -> None:
    with pytest.raises(ValueError, match=r"^expected moments with full=True for a covariance matrix$"):
        covariance(pixel_moments(pixels()))
