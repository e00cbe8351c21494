"""Closed-form gradients: the values and gradients of the plain versions, which autograd differentiates."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.references import losses as reference
from uibe.functional import fused
from uibe.functional.detectors import logits as plain_logits
from uibe.functional.fused import fused_loss_sums, tangent_logits
from uibe.functional.losses import LossSums, LossWeights, loss_sums, loss_terms, total_loss
from uibe.functional.orthogonal import ROTATION_MAPS, RotationMap, random_rotation, rotation

Sums = Callable[[Tensor, float], LossSums]
WEIGHTS = LossWeights(1.3, 2.8, 5.0, 0.6)


def random_logits(pixels: int, detectors: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(pixels, detectors, generator=generator, dtype=torch.float64) - scale / 2


def loss_and_gradient(sums: Sums, logits: Tensor, gamma: float = 2.0) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    margin = torch.tensor(0.7, dtype=logits.dtype)
    loss = total_loss(loss_terms(sums(logits, gamma), margin, 0.9), WEIGHTS)
    loss.backward()
    assert logits.grad is not None
    return loss.detach(), logits.grad


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@settings(deadline=None, max_examples=40)
@given(
    pixels=st.integers(1, 12),
    detectors=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    gamma=st.sampled_from([0.5, 1.0, 2.0, 3.7]),
    scale=st.floats(0.1, 30.0),
)
def test_values_and_gradients_are_the_plain_ones(
    pixels: int, detectors: int, seed: int, gamma: float, scale: float
) -> None:
    logits = random_logits(pixels, detectors, seed, scale)
    expected = reference.loss_terms(logits.numpy(), 0.7, gamma, 0.9)
    margin = torch.tensor(0.7, dtype=torch.float64)
    terms = loss_terms(fused_loss_sums(logits, gamma), margin, 0.9)
    np.testing.assert_allclose([float(term) for term in terms], expected, rtol=1e-10, atol=1e-10)
    found, plain = (loss_and_gradient(sums, logits, gamma)[1] for sums in (fused_loss_sums, loss_sums))
    # where a single detector is all but certain, what is left of 1 - y is rounding
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-10 * float(plain.abs().max()) + 1e-14)


@pytest.mark.parametrize("gamma", [2.0, 2.5])
@pytest.mark.parametrize("scale", [1.0, 4.0, 12.0])
def test_float32_is_close_to_float64(gamma: float, scale: float) -> None:
    logits = random_logits(256, 128, scale=scale)
    exact, gradient = loss_and_gradient(loss_sums, logits, gamma)
    found, rough = loss_and_gradient(fused_loss_sums, logits.float(), gamma)
    assert float(found) == pytest.approx(float(exact), rel=1e-6)
    assert relative(rough, gradient) < 1e-5


@pytest.mark.parametrize("gamma", [2.0, 3.0])
def test_sums_pass_gradcheck(gamma: float) -> None:
    logits = random_logits(5, 3, scale=1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: fused_loss_sums(at, gamma)[1:], (logits,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-1e4, -100.0, 1e4])
def test_values_and_gradients_are_the_plain_ones_far_from_the_threshold(
    level: float, dtype: torch.dtype
) -> None:
    logits = (level + random_logits(6, 4)).to(dtype)
    (found, gradient), (expected, plain) = (
        loss_and_gradient(sums, logits) for sums in (fused_loss_sums, loss_sums)
    )
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9  # of logits near 1e4 float32 keeps three digits
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, plain, rtol=tolerance, atol=tolerance)


def test_a_pixel_far_below_all_thresholds_keeps_its_definition() -> None:
    logits = -1e4 + torch.tensor([[0.0, float(np.log(3))]], dtype=torch.float64)  # q = (1/4, 3/4)
    assert float(fused_loss_sums(logits, 2.0).sparsity) == pytest.approx(
        2 - 0.75 * float(np.log2(3)), abs=1e-9
    )


def test_sums_of_parts_add_up_to_the_whole() -> None:
    logits = random_logits(17, 5)
    parts = [fused_loss_sums(part, 2.0) for part in logits.split((5, 12))]
    whole = fused_loss_sums(logits, 2.0)
    for name, total in whole._asdict().items():
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), total, rtol=1e-12, atol=1e-12)


def test_logits_that_are_not_a_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected logits of shape \(P, I\), got \(2, 3, 4\)"):
        fused_loss_sums(torch.zeros(2, 3, 4), 2.0)


def start(size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Pixels, base, thresholds and margin; the latter two want gradients."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(40, size, generator=generator, dtype=dtype) + 0.3
    base = random_rotation(size, generator, dtype)
    thresholds = torch.rand(size, generator=generator, dtype=dtype) + 0.5
    return pixels, base, thresholds.requires_grad_(), torch.tensor(0.4, dtype=dtype, requires_grad=True)


def gradients(make: Callable[[Tensor], Tensor], generator: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    terms = loss_terms(loss_sums(make(generator).to(others[-1].dtype), 2.0), others[-1], 0.9)
    return torch.autograd.grad(total_loss(terms, WEIGHTS), (generator, *others))


@pytest.mark.parametrize("rotation_map", ROTATION_MAPS)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_tangent_has_the_gradients_of_every_map_at_its_base(rotation_map: RotationMap, size: int) -> None:
    pixels, base, thresholds, margin = start(size)
    generator = torch.zeros(size, size, dtype=torch.float64, requires_grad=True)

    def through_the_map(at: Tensor) -> Tensor:
        return plain_logits(pixels, rotation(at, rotation_map) @ base, thresholds, margin)

    def tangent(at: Tensor) -> Tensor:
        return tangent_logits(pixels, at, base, thresholds, margin)

    torch.testing.assert_close(tangent(generator), through_the_map(generator), rtol=1e-12, atol=1e-12)
    found, expected = (gradients(make, generator, thresholds, margin) for make in (tangent, through_the_map))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert size == 1 or float(expected[0].abs().max()) > 1e-3


def test_tangent_in_float32_is_close_to_float64() -> None:
    exact = start(64)
    rough = [each.detach().float().requires_grad_(each.requires_grad) for each in exact]
    found, expected = (
        gradients(
            lambda at, given=given: tangent_logits(given[0], at, *given[1:]),  # type: ignore[misc]
            torch.zeros(64, 64, dtype=given[0].dtype, requires_grad=True),
            *given[2:],
        )
        for given in (rough, exact)
    )
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) < 1e-5


def test_autocast_takes_products_in_bfloat16_and_keeps_the_rest() -> None:
    pixels, base, thresholds, margin = start(32, torch.float32)
    generator = torch.zeros(32, 32, requires_grad=True)

    def tangent(at: Tensor) -> Tensor:
        return tangent_logits(pixels, at, base, thresholds, margin)

    exact = gradients(tangent, generator, thresholds, margin)
    with torch.autocast("cpu", torch.bfloat16):
        logits, rough = tangent(generator), gradients(tangent, generator, thresholds, margin)
    assert logits.dtype == torch.float32
    assert 0 < relative(logits.detach(), tangent(generator).detach()) < 1e-2
    for one, other in zip(rough, exact, strict=True):
        assert one.dtype == torch.float32
        assert relative(one, other) < 3e-2


@pytest.mark.parametrize("gamma", [2.0, 2.5])
@pytest.mark.parametrize("block", [1, 7, 10, 10**6])
def test_blocks_make_no_difference(block: int, gamma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = random_logits(9, 5)
    expected, plain = loss_and_gradient(loss_sums, logits, gamma)
    monkeypatch.setattr(fused, "_BLOCK", block)
    found, gradient = loss_and_gradient(fused_loss_sums, logits, gamma)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, plain, rtol=1e-10, atol=1e-12)


def test_a_strong_pixel_beside_a_weak_one_does_not_drown_it() -> None:
    logits = torch.tensor([[-1e4, -1e4 + float(np.log(3))], [1e4, 1e4]], dtype=torch.float64)
    # (1/4, 3/4) and (1/2, 1/2)
    assert fused_loss_sums(logits, 2.0).sparsity.item() == pytest.approx(3 - 0.75 * float(np.log2(3)))


def test_autocast_products_are_those_of_bfloat16() -> None:
    for dtype in (torch.float32, torch.float64):
        pixels, base, thresholds, margin = start(8, dtype)
        generator = torch.zeros(8, 8, dtype=dtype, requires_grad=True)
        slope = torch.randn(40, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16):
            logits = tangent_logits(pixels, generator, base, thresholds, margin)
        low = torch.bfloat16
        projections = (pixels.to(low) @ base.to(low).T).to(dtype)
        assert torch.equal(logits, (projections - thresholds) / margin)
        logits.backward(slope)  # type: ignore[no-untyped-call]
        turned = (slope.to(low).T @ logits.detach().to(low)).to(dtype)
        turned += torch.outer(slope.sum(0), (thresholds / margin).detach())
        torch.testing.assert_close(generator.grad, (turned - turned.T).tril(-1))
