"""Rotations stay rotations whatever they are made from, and a prediction's parts add up in any of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uibe.functional.detectors import Detectors, fold, projection_maps
from uibe.functional.explanation import coordinates, orthonormal_coordinates, split_prediction
from uibe.functional.orthogonal import (
    ROTATION_MAPS,
    RotationMap,
    limit_angle,
    nearest_rotation,
    orthogonality_error,
    polish,
    random_rotation,
    rotation,
)

few = settings(max_examples=15)
seeds, sizes = st.integers(0, 10**6), st.integers(1, 7)
maps = pytest.mark.parametrize("rotation_map", ROTATION_MAPS)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@maps
@few
@given(size=sizes, seed=seeds, scale=st.sampled_from([0.0, 1e-12, 0.1, 10.0, 1e4]))
def test_every_generator_gives_a_rotation_and_a_finite_gradient(
    rotation_map: RotationMap, size: int, seed: int, scale: float
) -> None:
    generator = (scale * normal(size, size, seed=seed)).requires_grad_()
    turned = rotation(generator, rotation_map)
    assert float(orthogonality_error(turned.detach())) < 1e-5
    (gradient,) = torch.autograd.grad((turned * normal(size, size, seed=seed + 1)).sum(), generator)
    assert gradient.isfinite().all()
    if size > 1 or rotation_map != "householder":  # of one dimension there is only one
        assert float(torch.linalg.det(turned.detach())) == pytest.approx(1.0, abs=1e-4)


@maps
@few
@given(size=sizes, seed=seeds)
def test_the_upper_triangle_has_no_say(rotation_map: RotationMap, size: int, seed: int) -> None:
    generator = normal(size, size, seed=seed)
    assert torch.equal(rotation(generator, rotation_map), rotation(generator.tril(-1), rotation_map))


@pytest.mark.parametrize("rotation_map", ["cayley", "matrix_exp", "polynomial"])
@few
@given(size=sizes, seed=seeds)
def test_a_renumbered_generator_gives_the_renumbered_rotation(
    rotation_map: RotationMap, size: int, seed: int
) -> None:
    """All but `householder`, whose product of reflections has an order."""
    whole = normal(size, size, seed=seed)
    whole = whole - whole.T
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    moved = rotation(whole[order][:, order], rotation_map)
    torch.testing.assert_close(moved, rotation(whole, rotation_map)[order][:, order])


@pytest.mark.parametrize("rotation_map", ["cayley", "matrix_exp"])
@few
@given(size=sizes, seed=seeds)
def test_the_opposite_generator_turns_back(rotation_map: RotationMap, size: int, seed: int) -> None:
    generator = normal(size, size, seed=seed)
    there, back = rotation(generator, rotation_map), rotation(-generator, rotation_map)
    torch.testing.assert_close(there @ back, torch.eye(size).double())
    torch.testing.assert_close(back, there.T)


@few
@given(size=sizes, seed=seeds, scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6, 1e30]), angle=st.floats(0.01, 3))
def test_a_limited_turn_keeps_its_bound_at_any_size(size: int, seed: int, scale: float, angle: float) -> None:
    limited = limit_angle(scale * normal(size, size, seed=seed), angle)
    assert limited.isfinite().all()
    turn = (2 / size) ** 0.5 * float(torch.linalg.matrix_norm(limited.tril(-1)))
    assert turn <= angle * (1 + 1e-9)


@few
@given(size=sizes, num=st.integers(1, 7), seed=seeds, scale=st.sampled_from([1e-12, 1.0, 1e12]))
def test_the_nearest_rotation_does_not_ask_for_lengths_and_turns_along(
    size: int, num: int, seed: int, scale: float
) -> None:
    given_rows = normal(min(num, size), size, seed=seed)
    nearest = nearest_rotation(scale * given_rows)
    assert float(orthogonality_error(nearest)) < 1e-10
    turn = random_rotation(size, torch.Generator().manual_seed(seed))
    rows = len(given_rows)
    torch.testing.assert_close(nearest_rotation(given_rows @ turn)[:rows], nearest[:rows] @ turn)
    torch.testing.assert_close(nearest_rotation(turn), turn)
    torch.testing.assert_close(polish(turn), turn)


@few
@given(size=sizes, seed=seeds, matrix=st.booleans())
def test_folded_detectors_project_raw_pixels_alike(size: int, seed: int, matrix: bool) -> None:
    mean, scale = normal(size, seed=seed), normal(size, seed=seed + 1).abs()
    transform = scale.diag() if matrix else scale
    own = Detectors(random_rotation(size, torch.Generator().manual_seed(seed)), normal(size, seed=seed + 2))
    raw = fold(own, mean, transform)
    features = normal(2, size, 3, 2, seed=seed + 3)
    standardized = (features - mean[:, None, None]) * scale[:, None, None]
    found = projection_maps(features, raw.directions) - raw.thresholds[:, None, None]
    expected = projection_maps(standardized, own.directions) - own.thresholds[:, None, None]
    torch.testing.assert_close(found, expected)


@few
@given(size=sizes, seed=seeds, images=st.integers(1, 3), outlier=st.sampled_from([0.0, 1e6]))
def test_contributions_add_up_to_the_logit_in_any_orthonormal_basis(
    size: int, seed: int, images: int, outlier: float
) -> None:
    weight, bias = normal(3, size, seed=seed), normal(3, seed=seed + 1)
    features = normal(images, size, 2, 3, seed=seed + 2)
    features[0, 0, 0, 0] += outlier
    mean, scale = normal(size, seed=seed + 3), normal(size, seed=seed + 4).abs() + 0.1
    turn = random_rotation(size, torch.Generator().manual_seed(seed))
    residuals, totals = [], []
    for basis in (
        orthonormal_coordinates(turn, mean, scale),
        orthonormal_coordinates(torch.eye(size), mean, scale),
        coordinates(torch.eye(size), mean),
    ):
        found = split_prediction(lambda x: x.mean((2, 3)) @ weight.T + bias, features, [2, 0], basis)
        residuals.append(found.residual)
        totals.append(found.constant + found.contributions.sum(2))
    largest = 1 + float(features.abs().max())
    for residual, total in zip(residuals, totals, strict=True):
        assert float(residual.abs().max()) < 1e-9 * largest
        torch.testing.assert_close(total, totals[0], rtol=1e-9, atol=1e-9 * largest)


@few
@given(size=sizes, seed=seeds)
def test_order_and_signs_of_directions_move_contributions_and_nothing_else(size: int, seed: int) -> None:
    weight, mean = normal(1, size, seed=seed), normal(size, seed=seed + 1)
    features, rows = normal(2, size, 2, 2, seed=seed + 2), normal(size, size, seed=seed + 3)
    generator = torch.Generator().manual_seed(seed)
    order, signs = torch.randperm(size, generator=generator), torch.ones(size).double()
    signs[torch.rand(size, generator=generator) < 0.5] = -1

    def parts(directions: Tensor) -> Tensor:
        basis = coordinates(directions, mean)
        return split_prediction(lambda x: x.mean((2, 3)) @ weight.T, features, [0], basis).contributions

    torch.testing.assert_close(parts((signs[:, None] * rows)[order]), parts(rows)[:, :, order])
