"""Training steps: the fast path learns what the plain one does and stays a rotation for thousands of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_modules import BasisModule
from tests.running import Bench, fit
from uibe.data.planted import planted_codes
from uibe.functional.moments import pixel_moments
from uibe.functional.orthogonal import orthogonality_error
from uibe.functional.quantiles import column_quantiles
from uibe.modules.basis import InterpretableBasis


def planted_pixels(size: int) -> Tensor:
    return planted_codes(200 * size, size, noise=0.05, generator=torch.Generator().manual_seed(0)).pixels


def learner(pixels: Tensor, **options: Any) -> BasisModule:  # noqa: ANN401 - the module's own
    """A module whose basis is started on planted pixels."""
    module = BasisModule(image_size=48, lr_schedule="constant", **options)
    size, hparams = pixels.shape[1], module.hparams
    module.basis = InterpretableBasis(size, rotation_map=hparams.rotation_map, margin=hparams.margin)
    module.basis.start(pixel_moments(pixels))
    standardized = module.basis.standardizer(pixels)
    module.basis.start_thresholds(column_quantiles([standardized], 0.1, len(pixels)))
    return module


def losses(module: BasisModule, pixels: Tensor, steps: int, batch: int = 256) -> Tensor:
    """Loss of every step."""
    generator = torch.Generator().manual_seed(1)
    optimizer: Any = module.configure_optimizers()
    found = []
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = module.training_step(pixels[torch.randint(len(pixels), (batch,), generator=generator)], step)
        torch.autograd.backward(loss)
        optimizer.step()
        module.move_base(step)
        found.append(loss.detach())
    return torch.stack(found)


@pytest.mark.parametrize("rotation_map", ["polynomial", "cayley"])
def test_fused_steps_follow_the_plain_ones(rotation_map: str) -> None:
    pixels = planted_pixels(24)
    fused, plain = (
        learner(pixels, fused=fused, rotation_map=rotation_map).double() for fused in (True, False)
    )
    curves = [losses(module, pixels.double(), 60) for module in (fused, plain)]
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(fused.basis.rotation(), plain.basis.rotation(), rtol=0, atol=1e-8)


def test_the_loss_curve_of_5000_steps_is_that_of_the_plain_path_and_the_basis_stays_a_rotation() -> None:
    pixels = planted_pixels(16)
    fast = learner(pixels)
    plain = learner(pixels, fused=False, rotation_map="cayley")
    worst, curve = 0.0, []
    for _ in range(50):
        curve.append(losses(fast, pixels, 100).mean())
        worst = max(worst, float(orthogonality_error(fast.basis.rotation.base.double())))
    expected = torch.stack([losses(plain, pixels, 100).mean() for _ in range(50)])
    assert worst < 1e-5
    assert float(expected[0]) > 1.2 * float(expected[-1])  # it learns
    torch.testing.assert_close(torch.stack(curve), expected, rtol=0.02, atol=0.0)


@pytest.mark.parametrize("max_angle", [0.1, None])
def test_steps_far_too_large_leave_a_rotation_and_finite_numbers(max_angle: float | None) -> None:
    pixels = planted_pixels(16)
    module = learner(pixels, lr=1.0, max_angle=max_angle)
    assert bool(losses(module, pixels, 40).isfinite().all())
    assert float(orthogonality_error(module.basis.rotation.base.double())) < 1e-5


def test_mixed_precision_learns_and_keeps_the_rotation_in_float32(bench: Bench, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--trainer.precision", "bf16-mixed")
    base = run.state["basis.rotation.base"]
    assert base.dtype == torch.float32
    assert float(orthogonality_error(base.double())) < 1e-5
    assert float((base - torch.eye(len(base))).abs().max()) > 1e-3  # it moved
