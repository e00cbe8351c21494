"""The UIBE losses: their definitions, additivity over pixels, gradients and behaviour."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.references import losses as reference
from uibe.functional.losses import LossSums, LossTerms, LossWeights, loss_sums, loss_terms, total_loss


def random_logits(pixels: int, detectors: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(pixels, detectors, generator=generator, dtype=torch.float64)


def terms_of(logits: Tensor, margin: float = 1.0, gamma: float = 2.0, tau: float = 0.9) -> LossTerms:
    return loss_terms(loss_sums(logits, gamma), torch.tensor(margin, dtype=logits.dtype), tau)


def added(parts: Sequence[LossSums]) -> LossSums:
    return LossSums(*(torch.stack(field).sum(0) for field in zip(*parts, strict=True)))


@settings(deadline=None, max_examples=40)
@given(
    pixels=st.integers(1, 12),
    detectors=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    gamma=st.floats(0.5, 4.0),
    tau=st.floats(0.01, 1.0),
    margin=st.floats(0.05, 10.0),
)
def test_terms_equal_their_definitions(
    pixels: int, detectors: int, seed: int, gamma: float, tau: float, margin: float
) -> None:
    logits = random_logits(pixels, detectors, seed)
    expected = reference.loss_terms(logits.numpy(), margin, gamma, tau)
    np.testing.assert_allclose([float(t) for t in terms_of(logits, margin, gamma, tau)], expected, atol=1e-10)


# One pixel, two detectors, scores y = (3/4, 1/4), so logits +-ln 3; S = 1 and q = y.
#   L_s  = -(3/4 log2 3/4 + 1/4 log2 1/4) = 2 - 3/4 log2 3; L_ma is the same as q = y
#   L_ic, gamma 2, tau 1: nu = 1/2; E_p[y^2] = (9/16, 1/16); shortfalls 0 and (1/2 - 1/16) / (1/2) = 7/8
#   L_mm, M = 4: 1/4
BY_HAND = [2 - 0.75 * float(np.log2(3)), 2 - 0.75 * float(np.log2(3)), 7 / 16, 1 / 4]


def test_terms_by_hand() -> None:
    logits = torch.tensor([[1.0, -1.0]], dtype=torch.float64) * float(np.log(3))
    terms = terms_of(logits, margin=4.0, gamma=2.0, tau=1.0)
    np.testing.assert_allclose([float(term) for term in terms], BY_HAND, atol=1e-12)


def test_the_reference_agrees_with_the_hand() -> None:
    logits = np.array([[1.0, -1.0]]) * np.log(3)
    np.testing.assert_allclose(reference.loss_terms(logits, 4.0, 2.0, 1.0), BY_HAND, atol=1e-12)


@pytest.mark.parametrize("sizes", [(1, 16), (5, 12), (2, 3, 12), (1,) * 17])
def test_sums_of_parts_add_up_to_the_whole(sizes: tuple[int, ...]) -> None:
    logits = random_logits(17, 5)
    whole = loss_sums(logits, 2.0)
    for part, all_at_once in zip(added([loss_sums(p, 2.0) for p in logits.split(sizes)]), whole, strict=True):
        torch.testing.assert_close(part, all_at_once, rtol=1e-12, atol=1e-12)


def test_inactive_classifier_needs_the_global_batch() -> None:
    # each half wakes the detectors that sleep in the other: none is inactive in the union
    logits = torch.full((4, 2), -20.0, dtype=torch.float64)
    logits[:2, 0], logits[2:, 1] = 20.0, 20.0
    halves = [float(terms_of(half, tau=0.9).inactive_classifier) for half in logits.split(2)]
    assert float(terms_of(logits, tau=0.9).inactive_classifier) == pytest.approx(0.0, abs=1e-9)
    assert halves == pytest.approx([0.5, 0.5], abs=1e-9)


def test_gradient_of_the_parts_summed_first_is_that_of_the_whole() -> None:
    whole = random_logits(9, 4).requires_grad_()
    parts = whole.detach().clone().requires_grad_()
    total_loss(terms_of(whole), LossWeights()).backward()
    sums = added([loss_sums(part, 2.0) for part in parts.split((2, 7))])
    total_loss(loss_terms(sums, torch.tensor(1.0).double(), 0.9), LossWeights()).backward()
    assert whole.grad is not None
    assert parts.grad is not None
    assert float(whole.grad.abs().max()) > 1e-3
    torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("term", range(4))
def test_gradients_with_respect_to_logits_and_margin(term: int) -> None:
    logits = random_logits(5, 3, scale=1.0).requires_grad_()
    margin = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    share = 0.9 / 3
    distance = loss_sums(logits.detach(), 2.0).firing / 5 - share
    assert float(distance.abs().min()) > 1e-3  # away from the kink of the ReLU
    assert bool((distance < 0).any())  # and some detector is inactive

    def value(logits: Tensor, margin: Tensor) -> Tensor:
        return loss_terms(loss_sums(logits / margin, 2.0), margin, 0.9)[term]

    assert torch.autograd.gradcheck(value, (logits, margin))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-1e4, 1e4])
def test_values_and_gradients_are_finite_far_from_the_threshold(level: float, dtype: torch.dtype) -> None:
    logits = (level + random_logits(6, 4).to(dtype)).requires_grad_()
    terms = terms_of(logits)
    total_loss(terms, LossWeights()).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert all(bool(term.isfinite()) for term in terms)


def test_a_pixel_far_below_all_thresholds_keeps_its_definition() -> None:
    # y_i -> e^l_i: for l = -1e4 + (0, ln 3), q = (1/4, 3/4) although every y underflows
    logits = -1e4 + torch.tensor([[0.0, float(np.log(3))]], dtype=torch.float64)
    entropy = 2 - 0.75 * float(np.log2(3))
    assert float(terms_of(logits).sparsity) == pytest.approx(entropy, abs=1e-9)


def test_one_hot_costs_less_sparsity_than_uniform() -> None:
    one_hot = torch.full((8, 8), -8.0).fill_diagonal_(8.0)
    uniform = torch.zeros(8, 8)
    assert float(terms_of(one_hot).sparsity) < 0.1
    assert float(terms_of(uniform).sparsity) == pytest.approx(3.0, abs=1e-5)  # log2 8


def test_sparsity_ignores_how_strong_and_maximum_activation_does_not() -> None:
    weak, strong = torch.full((2, 1), -2.0), torch.full((2, 1), 2.0)  # one detector: q = 1 either way
    assert float(terms_of(weak).sparsity) == float(terms_of(strong).sparsity) == 0.0
    assert float(terms_of(strong).maximum_activation) < float(terms_of(weak).maximum_activation)


def test_waking_an_inactive_detector_pays_and_a_wider_margin_pays() -> None:
    asleep = torch.full((10, 2), -5.0)
    awake = asleep.clone()
    awake[:5, 0] = 5.0
    assert float(terms_of(awake).inactive_classifier) < float(terms_of(asleep).inactive_classifier)
    assert float(terms_of(asleep, margin=2.0).maximum_margin) < float(
        terms_of(asleep, margin=1.0).maximum_margin
    )


@pytest.mark.parametrize("dim", [0, 1])
def test_order_of_pixels_and_of_detectors_does_not_matter(dim: int) -> None:
    logits = random_logits(11, 6)
    order = torch.randperm(logits.shape[dim], generator=torch.Generator().manual_seed(1))
    for shuffled, original in zip(terms_of(logits.index_select(dim, order)), terms_of(logits), strict=True):
        torch.testing.assert_close(shuffled, original, rtol=1e-12, atol=1e-12)


def test_tau_zero_switches_the_inactive_term_off() -> None:
    logits = torch.full((3, 2), -9.0, requires_grad=True)
    term = terms_of(logits, tau=0.0).inactive_classifier
    assert float(term) == 0.0


def test_sharpening_makes_half_hearted_firing_count_less() -> None:
    firing = [loss_sums(torch.zeros(4, 1), gamma).firing.item() for gamma in (1.0, 2.0, 4.0)]
    assert firing == pytest.approx([2.0, 1.0, 0.25])


def test_each_weight_scales_its_own_term() -> None:
    terms = LossTerms(*torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    for position, expected in enumerate((1.0, 10.0, 100.0, 1000.0)):
        weights = LossWeights(*(float(k == position) for k in range(4)))
        assert float(total_loss(terms, weights)) == expected


def test_logits_that_are_not_a_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected logits of shape \(P, I\), got \(2, 3, 4\)"):
        loss_sums(torch.zeros(2, 3, 4), 2.0)
