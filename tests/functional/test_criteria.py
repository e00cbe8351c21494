"""Label-free criteria equal plain formulas over all pixels, and tell a planted basis from a mixed one."""

import numpy as np
import pytest
import torch
from scipy import stats

from uibe.data.planted import planted_codes
from uibe.functional.criteria import PixelSums, criteria, pixel_sums
from uibe.functional.orthogonal import random_rotation


def test_criteria_are_those_of_plain_formulas() -> None:
    logits = 3 * torch.randn(500, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits[:, 6] = -8.0  # never fires, no variance
    found = criteria(pixel_sums(logits))
    y = 1 / (1 + np.exp(-logits.numpy()))
    q = y / y.sum(1, keepdims=True)
    fires = logits.numpy() > 0
    assert found.sparsity == pytest.approx(-(q * np.log2(q)).sum(1).mean())
    usage = q.mean(0)
    assert found.usage == pytest.approx(2 ** -(usage * np.log2(usage)).sum())
    assert found.information == pytest.approx(np.log2(found.usage) - found.sparsity)
    assert found.firing_rate == pytest.approx(fires.mean())
    assert found.dead == pytest.approx(1 / 7)
    assert found.covered == pytest.approx((fires.sum(1) > 0).mean())
    assert found.single == pytest.approx((fires.sum(1) == 1).mean())
    assert found.strongest == pytest.approx(y.max(1).mean())
    shape = [np.append(of(logits.numpy()[:, :6]), 0) for of in (stats.kurtosis, stats.skew)]
    assert [found.kurtosis, found.skewness] == pytest.approx([float(np.median(each)) for each in shape])


def test_sums_add_up_over_batches() -> None:
    logits = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parts = [pixel_sums(part) for part in logits.split(17)]
    added = PixelSums(*(torch.stack(each).sum(0) for each in zip(*parts, strict=True)))
    assert list(criteria(added)) == pytest.approx(list(criteria(pixel_sums(logits))))


def test_the_planted_basis_looks_better_than_a_mixed_one() -> None:
    generator = torch.Generator().manual_seed(2)
    planted = planted_codes(5000, 16, 0.05, generator)
    mixed = random_rotation(16, generator, torch.float32) @ planted.directions
    right, wrong = (
        criteria(pixel_sums((planted.pixels @ directions.T - 0.5) / 0.1))
        for directions in (planted.directions, mixed)
    )
    assert right.information > wrong.information + 0.5
    assert right.kurtosis > wrong.kurtosis
    assert right.skewness > wrong.skewness


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        pixel_sums(torch.zeros(3))


def test_a_logit_of_zero_does_not_fire() -> None:
    sums = pixel_sums(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
    assert (sums.firing.tolist(), float(sums.covered), float(sums.single)) == ([0.0, 1.0], 1.0, 1.0)


@pytest.mark.parametrize("level", [0.0, -8.0, 1000.1])
def test_constant_projections_have_no_shape(level: float) -> None:
    found = criteria(pixel_sums(torch.full((777, 3), level)))
    assert (found.kurtosis, found.skewness) == (0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-7, 1e-4, 1e4])
def test_shape_does_not_depend_on_the_scale(scale: float) -> None:
    logits = torch.randn(300, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).exp()
    found, scaled = (criteria(pixel_sums(each)) for each in (logits, scale * logits))
    assert (scaled.kurtosis, scaled.skewness) == pytest.approx((found.kurtosis, found.skewness), rel=1e-6)
    assert found.skewness > 1
