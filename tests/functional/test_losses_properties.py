"""What the losses do not depend on, and what they do: order, batches, signs, the direction one looks from.

The terms are of the scores `y = sigmoid(l)`, and `sigmoid(-l) = 1 - sigmoid(l)`: a flipped sign turns a
detector that fires on few pixels into one that fires on most. No term but `L_mm`, which knows no direction,
survives it, and none should: a concept lies on one side of a threshold.
"""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uibe.functional.detectors import logits
from uibe.functional.fused import fused_loss_sums
from uibe.functional.losses import LossSums, LossTerms, LossWeights, loss_sums, loss_terms, total_loss
from uibe.functional.orthogonal import random_rotation

Sums = Callable[[Tensor, float], LossSums]

either = pytest.mark.parametrize("sums", [loss_sums, fused_loss_sums])
seeds, pixels, detectors = st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 6)
scales = st.sampled_from([0.1, 3.0, 100.0, 1e6])
few = settings(max_examples=15)


def drawn(pixels: int, detectors: int, seed: int, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(pixels, detectors, generator=generator, dtype=torch.float64)


def terms(sums: Sums, of: Tensor) -> LossTerms:
    return loss_terms(sums(of, 2.0), of.new_tensor(0.7), 0.9)


def gradient(sums: Sums, of: Tensor) -> Tensor:
    inputs = of.clone().requires_grad_()
    (found,) = torch.autograd.grad(total_loss(terms(sums, inputs), LossWeights()), inputs)
    return found


def close(found: LossTerms | LossSums | tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-10, atol=1e-10)


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds, scale=scales)
def test_order_of_pixels_and_detectors_moves_gradients_and_nothing_else(
    sums: Sums, pixels: int, detectors: int, seed: int, scale: float
) -> None:
    plain = drawn(pixels, detectors, seed, scale)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(size, generator=generator) for size in plain.shape)
    moved = plain[rows][:, columns]
    close(terms(sums, moved), terms(sums, plain))
    torch.testing.assert_close(gradient(sums, moved), gradient(sums, plain)[rows][:, columns])


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds, cut=st.floats(0, 1))
def test_sums_of_two_batches_are_those_of_one(
    sums: Sums, pixels: int, detectors: int, seed: int, cut: float
) -> None:
    plain = drawn(pixels, detectors, seed)
    first = round(cut * pixels)
    parts = [sums(part, 2.0) for part in (plain[:first], plain[first:])]
    close(tuple(torch.stack(each).sum(0) for each in zip(*parts, strict=True)), sums(plain, 2.0))


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds, times=st.integers(2, 4))
def test_pixels_seen_several_times_change_no_term(
    sums: Sums, pixels: int, detectors: int, seed: int, times: int
) -> None:
    plain = drawn(pixels, detectors, seed)
    close(terms(sums, plain.repeat(times, 1)), terms(sums, plain))


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds)
def test_terms_keep_to_their_ranges(sums: Sums, pixels: int, detectors: int, seed: int) -> None:
    plain = drawn(pixels, detectors, seed, scale=30.0)
    sparsity, activation, inactive, margin = (float(term) for term in terms(sums, plain))
    assert -1e-12 <= sparsity <= torch.tensor(detectors).double().log2() + 1e-12
    assert activation >= -1e-12
    assert -1e-12 <= inactive <= 1 + 1e-12
    assert margin == pytest.approx(1 / 0.7)
    # -log2 y_i = -log2 q_i - log2 S: entropy is what is left of L_ma where the scores' sum S is 1
    total = -(plain.sigmoid().sum(1).log2()).mean()
    assert activation == pytest.approx(sparsity + float(total), rel=1e-9, abs=1e-9)


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds)
def test_a_flipped_sign_changes_the_loss_but_not_its_margin(
    sums: Sums, pixels: int, detectors: int, seed: int
) -> None:
    plain = drawn(pixels, detectors, seed)
    flipped, zeros = -plain, torch.zeros_like(plain)
    close(terms(sums, zeros), terms(sums, -zeros))
    assert terms(sums, flipped).maximum_margin == terms(sums, plain).maximum_margin
    activation = [float(terms(sums, each).maximum_activation) for each in (plain, flipped)]
    assert activation[0] != activation[1]


@few
@given(pixels=pixels, size=st.integers(1, 6), seed=seeds)
def test_flipping_a_direction_and_its_threshold_mirrors_its_logits_alone(
    pixels: int, size: int, seed: int
) -> None:
    x, generator = drawn(pixels, size, seed), torch.Generator().manual_seed(seed)
    directions, thresholds = random_rotation(size, generator), drawn(1, size, seed + 1)[0]
    signs = torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1
    found = logits(x, signs[:, None] * directions, signs * thresholds, x.new_tensor(0.5))
    torch.testing.assert_close(found, signs * logits(x, directions, thresholds, x.new_tensor(0.5)))


@either
@few
@given(pixels=pixels, size=st.integers(1, 6), seed=seeds)
def test_pixels_and_directions_turned_together_change_nothing(
    sums: Sums, pixels: int, size: int, seed: int
) -> None:
    x, generator = drawn(pixels, size, seed), torch.Generator().manual_seed(seed)
    directions, turn = random_rotation(size, generator), random_rotation(size, generator)
    thresholds, margin = drawn(1, size, seed + 1)[0], x.new_tensor(0.5)
    plain = terms(sums, logits(x, directions, thresholds, margin))
    close(terms(sums, logits(x @ turn, directions @ turn, thresholds, margin)), plain)


@either
@few
@given(pixels=pixels, detectors=detectors, seed=seeds, scale=st.sampled_from([1e-30, 1.0, 1e4, 1e6, 1e30]))
def test_values_and_gradients_are_finite_at_any_size_of_logits_in_float32(
    sums: Sums, pixels: int, detectors: int, seed: int, scale: float
) -> None:
    plain = drawn(pixels, detectors, seed, scale).float()
    assert all(bool(term.isfinite()) for term in terms(sums, plain))
    assert bool(gradient(sums, plain).isfinite().all())


@either
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(sums: Sums, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="expected logits of float32 or float64"):
        sums(torch.zeros(3, 2, dtype=dtype), 2.0)
