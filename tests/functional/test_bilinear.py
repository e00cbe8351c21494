"""Positions and weights are those of interpolation."""

import math
from fractions import Fraction

import pytest
import torch

from tests.references.tally import bilinear
from uibe.functional.bilinear import columns, rows, upsample

CPU = torch.device("cpu")
SIZES = [(7, 112), (7, 21), (13, 112), (5, 7), (1, 9), (4, 4), (6, 5)]


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_columns_weigh_the_sources_as_interpolation_does(size: int, target: int) -> None:
    found = columns(size, target, CPU)
    seen = []
    for gap in range(size + 1):
        left, right = max(gap - 1, 0), min(gap, size - 1)
        for place in range(found.left_weight.shape[1]):
            if not found.left_weight[gap, place].isnan():
                source = torch.zeros(1, 1, size)
                source[0, 0, left] += found.left_weight[gap, place]
                source[0, 0, right] += found.right_weight[gap, place]
                x = int(found.first[gap]) + place
                expected = bilinear(torch.eye(size).numpy(), size, target)[:, x]
                assert source[0, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
                seen.append(x)
    assert seen == list(range(target))


@pytest.mark.parametrize(("size", "target"), SIZES)
def test_rows_lie_below_the_source_rows(size: int, target: int) -> None:
    found = rows(size, target, CPU)
    for row in range(size - 1):
        centre = (row + 0.5) * target / size - 0.5
        assert int(found.first[row]) - float(found.shift[row]) == pytest.approx(centre, abs=1e-5)
        assert 0 <= float(found.shift[row]) < 1
    assert int(found.first[-1]) == target
    assert float(found.shift[-1]) == 0.5
    assert found.scale == target / size
    assert 0 < found.slack < target * 1e-5


def test_rows_of_a_large_target_are_exact() -> None:
    found = rows(13, 4001, CPU)
    for row in range(12):
        centre = Fraction(2 * row + 1, 2) * Fraction(4001, 13) - Fraction(1, 2)
        assert int(found.first[row]) == math.ceil(centre)
        assert float(found.shift[row]) == pytest.approx(float(math.ceil(centre) - centre), abs=1e-7)
    # the error of a place that `upsample` gives, in the source, is that of a float32 below 13 at most
    assert 0 < found.slack < 4001 / 13 * 13 * 2.0**-22


@pytest.mark.parametrize("size", [(5, 9), (7, 7), (3, 4)])
def test_upsampling_equals_the_oracle_at_odd_sizes(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for found, values in zip(upsample(maps, size), maps, strict=True):
        torch.testing.assert_close(
            found, torch.from_numpy(bilinear(values.numpy(), *size)), atol=1e-12, rtol=0
        )
