"""Rotation maps: orthogonal for any generator, alike near zero; Haar rotations; polishing."""

import math

import pytest
import scipy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uibe.functional.orthogonal import (
    ROTATION_MAPS,
    RotationMap,
    limit_angle,
    nearest_rotation,
    orthogonality_error,
    polish,
    random_rotation,
    rotation,
    skew,
)

maps = pytest.mark.parametrize("rotation_map", ROTATION_MAPS)
scales = st.sampled_from([1e-6, 0.1, 1.0, 10.0, 1e3])


def normal(size: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, size, generator=generator, dtype=torch.float64)


@maps
@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 9), seed=st.integers(0, 10**6), scale=scales)
def test_orthogonal_for_any_generator(rotation_map: RotationMap, size: int, seed: int, scale: float) -> None:
    turned = rotation(normal(size, seed, scale), rotation_map)
    # the polynomial's own error, for the largest turn that it allows
    assert float(orthogonality_error(turned)) < (4e-7 if rotation_map == "polynomial" else 1e-9)


@maps
def test_orthogonal_for_a_huge_generator_in_float32(rotation_map: RotationMap) -> None:
    turned = rotation(normal(32, scale=100.0).float(), rotation_map)
    tolerance = 1e-2 if rotation_map == "matrix_exp" else 1e-4  # repeated squaring adds rounding up
    assert float(orthogonality_error(turned)) < tolerance


@maps
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_determinant_is_one(rotation_map: RotationMap, size: int) -> None:
    determinants = [float(torch.linalg.det(rotation(normal(size, s), rotation_map))) for s in range(5)]
    assert determinants == pytest.approx([1.0] * 5)


@maps
@pytest.mark.parametrize("size", [1, 4, 7])
def test_zero_is_the_identity(rotation_map: RotationMap, size: int) -> None:
    turned = rotation(torch.zeros(size, size, dtype=torch.float64), rotation_map)
    torch.testing.assert_close(turned, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-15)


@maps
def test_derivative_at_zero_is_the_skew_generator(rotation_map: RotationMap) -> None:
    generator, step = normal(6), 1e-5
    ahead, behind = rotation(step * generator, rotation_map), rotation(-step * generator, rotation_map)
    torch.testing.assert_close((ahead - behind) / (2 * step), skew(generator), rtol=0, atol=1e-7)


@maps
def test_maps_differ_from_their_tangent_by_second_order_only(rotation_map: RotationMap) -> None:
    generator = normal(5)
    errors = []
    for step in (1e-2, 1e-3):
        tangent = torch.eye(5, dtype=torch.float64) + step * skew(generator)
        errors.append(float((rotation(step * generator, rotation_map) - tangent).abs().max()))
    assert errors[1] < errors[0] / 50  # a tenth of the step, a hundredth of the error


@maps
def test_gradients(rotation_map: RotationMap) -> None:
    generator = (0.1 * normal(4)).requires_grad_()  # so small that the polynomial does not shrink it
    assert torch.autograd.gradcheck(lambda g: rotation(g, rotation_map), (generator,))


@maps
def test_only_the_strictly_lower_triangle_counts(rotation_map: RotationMap) -> None:
    generator = normal(5, scale=0.05)
    changed = generator + normal(5, seed=1).triu()
    assert torch.equal(rotation(generator, rotation_map), rotation(changed, rotation_map))
    assert not torch.equal(rotation(generator, rotation_map), rotation(generator * 2, rotation_map))


@pytest.mark.parametrize("angle", [0.1, 1.0, 3.0])
def test_two_dimensions_by_hand(angle: float) -> None:
    # A = [[0, -a], [a, 0]]: exp(A) turns by a, Cayley by 2 atan(a / 2)
    generator = torch.tensor([[0.0, 0.0], [angle, 0.0]], dtype=torch.float64)
    turns = {"matrix_exp": angle, "cayley": 2 * math.atan(angle / 2)}
    for name, turn in turns.items():
        expected = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        torch.testing.assert_close(
            rotation(generator, name),  # type: ignore[arg-type]
            torch.tensor(expected, dtype=torch.float64),
        )


@pytest.mark.parametrize("angle", [0.01, 0.2, 0.38])
def test_polynomial_turns_like_the_exponential(angle: float) -> None:
    generator = torch.tensor([[0.0, 0.0], [angle, 0.0]], dtype=torch.float64)
    turned = rotation(generator, "polynomial")
    assert math.atan2(float(turned[1, 0]), float(turned[0, 0])) == pytest.approx(angle, rel=0.03 * angle**2)


@pytest.mark.parametrize(("angle", "least"), [(0.5, 0.39), (3.0, 0.36), (1e6, 0.0)])
def test_polynomial_turns_no_plane_by_more_than_its_limit(angle: float, least: float) -> None:
    generator = torch.zeros(4, 4, dtype=torch.float64)
    generator[1, 0], generator[3, 2] = angle, angle / 10
    turned = rotation(generator, "polynomial")
    first = math.atan2(float(turned[1, 0]), float(turned[0, 0]))
    second = math.atan2(float(turned[3, 2]), float(turned[2, 2]))
    assert least < first < 0.402
    assert first / second == pytest.approx(10, rel=0.01)  # the step is shrunk as a whole


def test_skew_is_antisymmetric() -> None:
    found = skew(normal(5))
    assert torch.equal(found, -found.T)
    assert torch.equal(found.tril(), normal(5).tril(-1))


def test_unknown_map_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected a rotation map of polynomial, cayley, matrix_exp, householder"
    ):
        rotation(torch.zeros(2, 2), "givens")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_random_rotation_is_a_rotation_set_by_its_generator(size: int) -> None:
    drawn, again, other = (random_rotation(size, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert float(orthogonality_error(drawn)) < 1e-12
    assert float(torch.linalg.det(drawn)) == pytest.approx(1.0)
    assert torch.equal(drawn, again)
    assert size == 1 or not torch.equal(drawn, other)


def test_random_rotations_are_spread_uniformly() -> None:
    # Haar: every entry has mean 0 and mean square 1 / D, the trace mean 0 and variance 1
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([random_rotation(4, generator) for _ in range(2000)])
    torch.testing.assert_close(drawn.mean(0), torch.zeros(4, 4).double(), rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.square().mean(0), torch.full((4, 4), 0.25).double(), rtol=0, atol=0.03)
    trace = drawn.diagonal(dim1=1, dim2=2).sum(1)
    assert float(trace.var()) == pytest.approx(1.0, abs=0.1)


def test_random_rotation_takes_a_dtype() -> None:
    assert random_rotation(3, torch.Generator(), torch.float32).dtype == torch.float32


@pytest.mark.parametrize("error", [1e-2, 1e-4])
def test_polish_squares_the_error(error: float) -> None:
    disturbed = random_rotation(8, torch.Generator().manual_seed(0)) + error * normal(8) / 10
    before, after = float(orthogonality_error(disturbed)), float(orthogonality_error(polish(disturbed)))
    assert 0 < after < before**2 * 8


def test_polish_leaves_rotations_alone() -> None:
    drawn = random_rotation(8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(polish(drawn), drawn, rtol=0, atol=1e-14)


def test_orthogonality_error_is_the_largest_deviation() -> None:
    directions = torch.eye(3)
    directions[0, 1] = 0.5  # W W^T - I has 0.25 at (0, 0) and 0.5 at (0, 1)
    assert float(orthogonality_error(directions)) == 0.5


@settings(deadline=None, max_examples=30)
@given(size=st.integers(2, 9), seed=st.integers(0, 10**6), scale=scales)
def test_limited_generators_keep_their_direction_and_the_bound(size: int, seed: int, scale: float) -> None:
    generator = normal(size, seed, scale)
    limited = limit_angle(generator, 0.1)
    angles = skew(limited).square().sum(1)  # of each direction, squared
    assert float(angles.mean().sqrt()) <= 0.1 * (1 + 1e-9)
    ratio = limited / generator
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0, 0])))


def test_small_generators_are_not_limited() -> None:
    generator = normal(5, scale=1e-3)
    assert torch.equal(limit_angle(generator, 0.1), generator)
    assert torch.equal(limit_angle(torch.zeros(1, 1), 0.1), torch.zeros(1, 1))


def test_the_nearest_rotation_is_the_polar_factor() -> None:
    directions = torch.randn(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, _ = scipy.linalg.polar(directions.numpy())
    assert torch.allclose(nearest_rotation(directions), torch.from_numpy(expected))
    known = random_rotation(7, torch.Generator().manual_seed(1))
    found = nearest_rotation(known[:4])
    assert torch.allclose(found[:4], known[:4])
    assert float(orthogonality_error(found)) < 1e-12
    with pytest.raises(ValueError, match="at most 7"):
        nearest_rotation(torch.zeros(8, 7))


def test_what_lies_above_the_diagonal_does_not_limit() -> None:
    generator = torch.tensor([[9.0, 9.0], [0.2, 9.0]])
    assert torch.equal(limit_angle(generator, 0.5), generator)


def test_cayley_is_the_map_where_none_is_named() -> None:
    assert torch.equal(rotation(normal(4)), rotation(normal(4), "cayley"))
    assert not torch.equal(rotation(normal(4)), rotation(normal(4), "matrix_exp"))
