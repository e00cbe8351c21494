"""Standardization equals NumPy's and can be folded into the detectors."""

import numpy as np
import pytest
import torch
from torch import Tensor

from uibe.errors import ConfigError, DataError
from uibe.functional.detectors import Detectors, fold
from uibe.functional.moments import pixel_moments
from uibe.modules.standardizer import STANDARDIZATIONS, Standardization, Standardizer

kinds = pytest.mark.parametrize("kind", STANDARDIZATIONS)


def correlated(num: int = 400, size: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(size, size, generator=generator)
    return torch.randn(num, size, generator=generator) @ mixing + torch.arange(float(size))


def fitted(kind: Standardization, pixels: Tensor) -> Standardizer:
    standardizer = Standardizer(pixels.shape[1], kind)
    standardizer.fit(pixel_moments(pixels, full=True))
    return standardizer


def test_none_leaves_pixels_alone() -> None:
    assert torch.equal(fitted("none", correlated())(correlated()), correlated())


def test_zscore_equals_numpy() -> None:
    x = correlated().numpy().astype(np.float64)
    np.testing.assert_allclose(
        fitted("zscore", correlated())(correlated()), (x - x.mean(0)) / x.std(0), atol=1e-5
    )


def test_zscore_by_hand() -> None:
    # channel 1: mean 3, sd 2; channel 2: mean 10, sd 10
    x = torch.tensor([[1.0, 0.0], [5.0, 20.0]])
    assert fitted("zscore", x)(x).tolist() == [[-1.0, -1.0], [1.0, 1.0]]


def test_whitening_equals_zca_of_numpy() -> None:
    x = correlated().numpy().astype(np.float64)
    u, spread, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    assert spread.min() > 0
    expected = np.sqrt(len(x)) * u @ v  # the white data nearest to the centred ones
    np.testing.assert_allclose(fitted("whiten", correlated())(correlated()), expected, atol=1e-4)


def test_whitened_pixels_are_white() -> None:
    white = fitted("whiten", correlated())(correlated()).double()
    np.testing.assert_allclose(np.cov(white.numpy().T, bias=True), np.eye(5), atol=1e-4)
    np.testing.assert_allclose(white.mean(0), np.zeros(5), atol=1e-5)


@pytest.mark.parametrize("kind", ["zscore", "whiten"])
def test_a_constant_channel_becomes_zero_and_others_are_untouched(kind: Standardization) -> None:
    x = correlated()
    x[:, 2] = 7.0
    z = fitted(kind, x)(x)
    others = [0, 1, 3, 4]
    assert float(z[:, 2].abs().max()) < 1e-5
    torch.testing.assert_close(z[:, others], fitted(kind, x[:, others])(x[:, others]), rtol=1e-4, atol=1e-4)


def test_whitening_is_finite_for_dependent_channels() -> None:
    x = correlated()
    x[:, 1] = 2 * x[:, 0]
    z = fitted("whiten", x)(x)
    assert bool(z.isfinite().all())
    assert float(z.abs().max()) < 20


@kinds
def test_folded_detectors_fire_exactly_where_standardized_ones_do(kind: Standardization) -> None:
    x = correlated(2000)
    standardizer = fitted(kind, x)
    generator = torch.Generator().manual_seed(2)
    detectors = Detectors(
        torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))[0],
        torch.randn(5, generator=generator, dtype=torch.float64),
    )
    raw = fold(detectors, standardizer.mean.double(), standardizer.transform.double())
    z = standardizer.double()(x.double())
    fires = z @ detectors.directions.T > detectors.thresholds
    assert torch.equal(x.double() @ raw.directions.T > raw.thresholds, fires)
    assert 0.05 < float(fires.double().mean()) < 0.95


@kinds
def test_division_into_batches_does_not_matter(kind: Standardization) -> None:
    whole, parts = fitted(kind, correlated()), Standardizer(5, kind)
    batches = [pixel_moments(part, full=True) for part in correlated().split((1, 99, 300))]
    total = [torch.stack(field).sum(0) for field in zip(*batches, strict=True)]
    parts.fit(type(batches[0])(*total))
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.transform, whole.transform)


@kinds
def test_state_dict_restores_it(kind: Standardization) -> None:
    source, copy = fitted(kind, correlated()), Standardizer(5, kind)
    copy.load_state_dict(source.state_dict())
    assert bool(copy.fitted)
    assert torch.equal(copy(correlated()), source(correlated()))


@pytest.mark.parametrize("kind", ["zscore", "whiten"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(kind: Standardization, value: float) -> None:
    x = correlated()
    x[3, 1] = value
    with pytest.raises(DataError, match="expected finite values, found NaN or infinity"):
        fitted(kind, x)


def test_constant_features_are_refused() -> None:
    with pytest.raises(DataError, match="every channel is constant"):
        fitted("zscore", torch.ones(10, 3))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="standardization: expected one of none, zscore, whiten, got 'l2'"):
        Standardizer(3, "l2")  # type: ignore[arg-type]
