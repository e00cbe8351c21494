"""The module without a command line: what it loads, refuses and computes."""

from typing import Any

import pytest
import torch

from lightning_modules import BasisModule
from lightning_modules.checkpoint import basis_from, module_from
from tests.running import Run, same_tensors
from uibe.errors import ConfigError, MismatchError
from uibe.functional.losses import LossWeights, loss_sums, loss_terms, total_loss


def test_module_of_a_checkpoint_is_the_one_that_was_saved(trained: Run) -> None:
    module = module_from(trained.checkpoint)
    assert not module.training
    assert same_tensors(module.state_dict(), trained.state)
    basis = basis_from(trained.checkpoint)
    for one, other in zip(module.basis.detectors(), basis.detectors(), strict=True):
        assert torch.equal(one, other)


def test_lightning_loads_the_checkpoint_by_itself(trained: Run) -> None:
    module = BasisModule.load_from_checkpoint(trained.path, map_location="cpu")
    assert same_tensors(module.state_dict(), trained.state)
    assert module.hparams.layer == "features.4"


def test_state_has_nothing_of_the_backbone() -> None:
    module = BasisModule(image_size=48)
    names = set(module.state_dict())
    assert names
    assert all(name.startswith("basis.") for name in names)
    assert any(name.startswith("backbone.") for name, _ in module.named_parameters())


def test_only_the_basis_is_optimized() -> None:
    module = BasisModule(image_size=48, lr_schedule="constant")
    optimizer: Any = module.configure_optimizers()
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in module.basis.parameters()}
    assert not any(p.requires_grad for p in module.backbone.parameters())


@pytest.mark.parametrize("weights", [None, "package:uibe.assets"])
def test_checkpoint_of_another_backbone_is_refused(trained: Run, weights: str | None) -> None:
    module = BasisModule(image_size=48, weights=weights)
    if weights is None:
        with pytest.raises(MismatchError, match="weights have sha256"):
            module.on_load_checkpoint(trained.checkpoint)
    else:
        module.on_load_checkpoint(trained.checkpoint)


@pytest.mark.parametrize("note", [None, {"format": 99, "weights_sha256": "0"}])
def test_checkpoint_of_another_version_is_refused(note: dict[str, Any] | None) -> None:
    with pytest.raises(MismatchError, match="format 99 is newer" if note else "not a checkpoint of this"):
        BasisModule(image_size=48).on_load_checkpoint({"uibe": note})


def test_missing_and_unknown_and_misshaped_tensors_are_refused(trained: Run) -> None:
    module = BasisModule(image_size=48)
    without = {name: value for name, value in trained.state.items() if name != "basis.thresholds"}
    with pytest.raises(MismatchError, match=r"basis\.thresholds"):
        module.load_state_dict(without)
    with pytest.raises(MismatchError, match=r"basis\.more"):
        module.load_state_dict({**trained.state, "basis.more": torch.zeros(1)})
    with pytest.raises(MismatchError, match=r"basis\.thresholds"):
        module.load_state_dict({**trained.state, "basis.thresholds": torch.zeros(3)})


def test_train_mode_does_not_reach_the_backbone() -> None:
    module = BasisModule(image_size=48)
    module.train()
    assert module.training
    assert not any(part.training for part in module.backbone.modules())


def test_images_and_their_pixels_give_the_same_loss(trained: Run) -> None:
    module = module_from(trained.checkpoint)
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    pixels = module.backbone.features(images).permute(0, 2, 3, 1).flatten(0, 2)
    of_images, of_pixels = (module.training_step(batch, 0) for batch in (images, pixels))
    assert of_images.item() == pytest.approx(of_pixels.item(), rel=1e-6)
    options = module.hparams
    terms = loss_terms(loss_sums(module.basis(pixels), options.gamma), module.basis.margin, options.tau)
    assert of_pixels.item() == pytest.approx(
        total_loss(terms, LossWeights(0.5, 2.8, 1.0, 0.6)).item(), rel=1e-6
    )
    means = module.step_means.compute()
    assert float(means["loss/total"]) == pytest.approx(of_pixels.item(), rel=1e-6)
    assert float(means["loss/sparsity"]) == pytest.approx(terms.sparsity.item(), rel=1e-6)
    fired = module.basis(pixels) > 0
    assert float(means["detectors/firing_rate"]) == pytest.approx(float(fired.double().mean()), rel=1e-6)
    assert float(means["detectors/dead"]) == int((~fired.any(0)).sum())


def test_every_part_of_the_basis_learns(trained: Run) -> None:
    module = module_from(trained.checkpoint).train()
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    torch.autograd.backward(module.training_step(images, 0))
    for name, parameter in module.basis.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("option", "value"),
    [("gamma", -1.0), ("tau", 1.5), ("lr", 0.0), ("start_firing", -0.1), ("max_angle", -1.0)],
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"model.{option}"):
        BasisModule(image_size=48, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("layer", "expected"), [("features.4", 0.05), ("wide", 16 / 1280)])
def test_wide_layers_start_with_fewer_firing_detectors(layer: str, expected: float) -> None:
    if layer == "wide":
        module = BasisModule("timm:tf_efficientnet_lite0", None, "bn2", 64)
    else:
        module = BasisModule(image_size=48)
    assert module._start_firing() == pytest.approx(expected)
    assert BasisModule(image_size=48, start_firing=0.2)._start_firing() == 0.2
