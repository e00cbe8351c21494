"""The learned rotation: orthogonal at every step, whatever the optimizer does."""

import pytest
import torch
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.orthogonal import ROTATION_MAPS, RotationMap, random_rotation
from uibe.modules.rotation import Rotation

maps = pytest.mark.parametrize("rotation_map", ROTATION_MAPS)


def error64(directions: Tensor) -> float:
    """Orthogonality error, measured in float64."""
    exact = directions.detach().double()
    return float((exact @ exact.T - torch.eye(len(exact), dtype=torch.float64)).abs().max())


def disturbed(size: int, rotation_map: RotationMap, scale: float = 0.1) -> Rotation:
    turned = Rotation(size, rotation_map)
    turned.start_from(random_rotation(size, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        turned.generator.normal_(0, scale, generator=torch.Generator().manual_seed(1))
    return turned


@maps
@pytest.mark.parametrize("size", [1, 2, 8])
def test_starts_at_the_identity(rotation_map: RotationMap, size: int) -> None:
    assert torch.equal(Rotation(size, rotation_map)(), torch.eye(size))


@maps
def test_starts_from_any_rotation(rotation_map: RotationMap) -> None:
    directions = random_rotation(6, torch.Generator().manual_seed(0), torch.float32)
    turned = disturbed(6, rotation_map)
    turned.start_from(directions)
    torch.testing.assert_close(turned(), directions, rtol=0, atol=1e-6)


@maps
def test_rebase_keeps_the_directions(rotation_map: RotationMap) -> None:
    turned = disturbed(8, rotation_map)
    before = turned().detach()
    turned.rebase()
    torch.testing.assert_close(turned().detach(), before, rtol=0, atol=1e-6)
    assert not turned.generator.any()
    assert float((turned.base - torch.eye(8)).abs().max()) > 0.1


@maps
def test_error_does_not_add_up_over_2000_rebased_steps(rotation_map: RotationMap) -> None:
    turned, generator = Rotation(32, rotation_map), torch.Generator().manual_seed(0)
    for _ in range(2000):
        with torch.no_grad():
            turned.generator.normal_(0, 0.03, generator=generator)
        turned.rebase(0.1)
    assert turned().dtype == torch.float32
    assert error64(turned()) < 1e-5
    assert float(turned().detach().diagonal().abs().mean()) < 0.6  # it did turn


@maps
def test_rebase_bounds_the_turn(rotation_map: RotationMap) -> None:
    turned = disturbed(16, rotation_map, scale=5.0)
    before = turned.base.clone()
    turned.rebase(max_angle=0.05)
    cosines = (turned().detach() * before).sum(1).clamp(max=1)
    assert 0.01 < float(cosines.acos().square().mean().sqrt()) < 0.06


@maps
def test_steps_without_a_bound_are_not_shortened(rotation_map: RotationMap) -> None:
    turned = disturbed(8, rotation_map, scale=2.0)
    before = turned().detach()
    turned.rebase()
    torch.testing.assert_close(turned().detach(), before, rtol=0, atol=1e-5)


@maps
def test_a_gradient_step_descends_from_any_base(rotation_map: RotationMap) -> None:
    turned = disturbed(6, rotation_map, scale=0.0)
    target = random_rotation(6, torch.Generator().manual_seed(9), torch.float32)
    optimizer = torch.optim.Adam(turned.parameters(), lr=0.02)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = (turned() - target).square().sum()
        loss.backward()
        optimizer.step()
        turned.rebase()
        losses.append(loss.item())
    assert losses[-1] < 1e-2 < losses[0]


@maps
def test_autocast_does_not_reduce_the_precision(rotation_map: RotationMap) -> None:
    turned = disturbed(16, rotation_map)
    with torch.autocast("cpu", torch.bfloat16):
        directions = turned()
        assert (torch.eye(16) @ torch.eye(16)).dtype == torch.bfloat16  # autocast is on
    assert directions.dtype == torch.float32
    assert error64(directions) < 1e-5
    assert torch.equal(directions, turned())


@maps
def test_one_dimension_has_nothing_to_turn(rotation_map: RotationMap) -> None:
    turned = disturbed(1, rotation_map)
    turned.rebase(0.1)
    assert turned().tolist() == [[1.0]]


def test_unknown_map_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="rotation_map: expected one of polynomial, cayley, matrix_exp, householder"
    ):
        Rotation(3, "givens")  # type: ignore[arg-type]
