"""Training steps on pixels that no network should give: finite losses and gradients, and a rotation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_modules import BasisModule
from uibe.functional.fused import fused_loss_sums, tangent_logits
from uibe.functional.losses import LossWeights, loss_terms, total_loss
from uibe.functional.moments import pixel_moments
from uibe.functional.orthogonal import ROTATION_MAPS, orthogonality_error
from uibe.functional.quantiles import column_quantiles
from uibe.modules.basis import InterpretableBasis
from uibe.modules.rotation import STARTS, Start
from uibe.modules.standardizer import STANDARDIZATIONS, Standardization


def codes(pixels: int = 96, channels: int = 6) -> Tensor:
    return torch.rand(pixels, channels, generator=torch.Generator().manual_seed(0)) ** 4


def two_constants() -> Tensor:
    pixels = codes()
    pixels[:, 0], pixels[:, 1] = 0.0, 12345.678
    return pixels


def outliers() -> Tensor:
    pixels = codes()
    pixels[::40, 2], pixels[7, 4] = 1e6, -1e6
    return pixels


def twins() -> Tensor:
    pixels = codes()
    pixels[:, 3] = 2 * pixels[:, 2]
    return pixels


PIXELS = {
    "two constants": two_constants(),
    "outliers": outliers(),
    "dependent channels": twins(),
    "one that varies": torch.cat([codes()[:, :1], torch.ones(96, 4)], 1),
    "one channel": codes()[:, :1],
    "two pixels": codes()[:2],
    "tiny": 1e-20 * codes(),
    "huge": 1e20 * codes(),
    "far from zero": codes() + 1000,
}
cases = pytest.mark.parametrize("case", PIXELS)


def module_on(
    pixels: Tensor,
    standardization: Standardization = "zscore",
    start: Start = "identity",
    **options: Any,  # noqa: ANN401 - the module's own
) -> BasisModule:
    """A module that was started on the pixels as `on_fit_start` does it."""
    module = BasisModule(image_size=48, lr_schedule="constant", **options)
    hparams = module.hparams
    module.basis = InterpretableBasis(pixels.shape[1], standardization, hparams.rotation_map, hparams.margin)
    module.to(pixels.dtype)
    module.basis.start(pixel_moments(pixels, full=True), start)
    with torch.no_grad():
        projections = module.basis.standardizer(pixels) @ module.basis.rotation().T
    module.basis.start_thresholds(column_quantiles([projections], 0.05, len(pixels)))
    return module


def assert_steps_are_sound(module: BasisModule, pixels: Tensor, steps: int = 4) -> None:
    optimizer: Any = module.configure_optimizers()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = module.training_step(pixels, step)
        torch.autograd.backward(loss)
        assert bool(loss.isfinite())
        for name, parameter in module.basis.named_parameters():
            assert parameter.grad is not None
            assert bool(parameter.grad.isfinite().all()), name
        optimizer.step()
        module.move_base(step)
    assert float(orthogonality_error(module.basis.rotation().detach().double())) < 1e-5
    assert all(bool(each.isfinite().all()) for each in module.basis.detectors())


@cases
@pytest.mark.parametrize("standardization", STANDARDIZATIONS)
@pytest.mark.parametrize("fused", [True, False])
def test_steps_on_odd_pixels_are_finite(fused: bool, standardization: Standardization, case: str) -> None:
    pixels = PIXELS[case]
    module = module_on(pixels, standardization, fused=fused)
    assert_steps_are_sound(module, pixels)


@cases
@pytest.mark.parametrize("rotation_map", ROTATION_MAPS)
def test_every_map_is_finite_on_odd_pixels(rotation_map: str, case: str) -> None:
    module = module_on(PIXELS[case], rotation_map=rotation_map, fused=False)
    assert_steps_are_sound(module, PIXELS[case], steps=2)


@cases
@pytest.mark.parametrize("start", STARTS)
def test_every_start_is_finite_on_odd_pixels(start: Start, case: str) -> None:
    module = module_on(PIXELS[case], "whiten", start)
    assert_steps_are_sound(module, PIXELS[case], steps=1)


@cases
@pytest.mark.parametrize("standardization", STANDARDIZATIONS)
def test_a_start_near_directions_of_any_length_is_a_rotation(
    standardization: Standardization, case: str
) -> None:
    pixels = PIXELS[case]
    size = pixels.shape[1]
    basis = InterpretableBasis(size, standardization)
    lengths = torch.tensor([0.0, 1e-20, 1.0, 1e20])[torch.arange(size) % 4]
    basis.start_near(pixel_moments(pixels, full=True), lengths[:, None] * torch.ones(size, size).tril())
    assert float(basis.orthogonality_error()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_of_either_precision_are_finite(dtype: torch.dtype) -> None:
    pixels = outliers().to(dtype)
    assert_steps_are_sound(module_on(pixels), pixels)


def test_products_in_bfloat16_are_finite_with_outliers() -> None:
    for fused in (True, False):
        module = module_on(outliers(), fused=fused)
        with torch.autocast("cpu", torch.bfloat16):
            assert_steps_are_sound(module, outliers())


def test_a_wide_layer_has_finite_gradients() -> None:
    """D = 4096: a step's losses and gradients, to whose base no product of two square matrices is needed."""
    size = 4096
    pixels = torch.randn(8, size, generator=torch.Generator().manual_seed(0))
    generator = torch.zeros(size, size, requires_grad=True)
    thresholds = torch.full((size,), 2.0, requires_grad=True)
    log_margin = torch.tensor(-1.0, requires_grad=True)
    margin = log_margin.exp()
    logits = tangent_logits(pixels, generator, torch.eye(size), thresholds, margin)
    loss = total_loss(loss_terms(fused_loss_sums(logits, 2.0), margin, 0.9), LossWeights())
    gradients = torch.autograd.grad(loss, [generator, thresholds, log_margin])
    assert bool(loss.isfinite())
    for gradient in gradients:
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any())


@pytest.mark.parametrize("margin", [0.0, -1.0, torch.nan, torch.inf])
def test_a_margin_that_is_no_positive_number_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin: expected a positive number"):
        InterpretableBasis(3, margin=margin)
