"""The autoencoder's parts against their definition in the paper."""

import pytest
import torch
from torch import Tensor

from uibe.peers.sae import TopKAutoencoder, keep_largest, reconstruction_loss

D, LATENTS = 6, 10


@pytest.fixture
def model() -> TopKAutoencoder:
    return TopKAutoencoder(torch.full((D,), 0.5), LATENTS, k=2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(20, D, generator=torch.Generator().manual_seed(1))


def living() -> Tensor:
    return torch.zeros(LATENTS, dtype=torch.bool)


def test_encoder_and_decoder_start_alike_but_apart(model: TopKAutoencoder) -> None:
    assert torch.equal(model.encoder, model.decoder)
    assert model.encoder.data_ptr() != model.decoder.data_ptr()
    assert model.decoder.norm(dim=1).tolist() == pytest.approx([1.0] * LATENTS)


def test_only_the_largest_and_positive_latents_are_kept() -> None:
    kept = keep_largest(torch.tensor([[1.0, 5.0, -1.0, 3.0], [-4.0, -2.0, 1.0, -3.0]]), k=2)
    assert kept.tolist() == [[0.0, 5.0, 0.0, 3.0], [0.0, 0.0, 1.0, 0.0]]


def test_the_loss_of_living_latents_is_the_mean_squared_error(model: TopKAutoencoder, pixels: Tensor) -> None:
    loss, used = reconstruction_loss(model, pixels, living())
    codes = keep_largest((pixels - 0.5) @ model.encoder.T, 2)
    assert loss.item() == pytest.approx((codes @ model.decoder + 0.5 - pixels).square().mean().item())
    assert torch.equal(used, (codes > 0).any(0))


def test_dead_latents_learn_from_the_error_alone(model: TopKAutoencoder, pixels: Tensor) -> None:
    dead = living()
    with torch.no_grad():
        model.encoder[3] = 0.01 * model.encoder[3]  # too small to be among the largest
    dead[3] = True
    [plain] = torch.autograd.grad(reconstruction_loss(model, pixels, living())[0], model.encoder)
    [helped] = torch.autograd.grad(reconstruction_loss(model, pixels, dead)[0], model.encoder)
    assert plain[3].abs().max() == 0
    assert helped[3].abs().max() > 0
    others = torch.arange(LATENTS) != 3
    assert torch.allclose(plain[others], helped[others])


def test_the_loss_of_dead_latents_is_a_share_of_the_error(model: TopKAutoencoder, pixels: Tensor) -> None:
    dead = ~living()
    with torch.no_grad():
        codes = keep_largest(model.encode(pixels), 2)
        error = pixels - model.decode(codes)
        guess = keep_largest(model.encode(pixels), D // 2) @ model.decoder
    share = (error - guess).square().mean() / error.square().mean()
    loss, _ = reconstruction_loss(model, pixels, dead)
    assert loss.item() == pytest.approx((error.square().mean() + share / 32).item())


def test_steps_keep_the_decoder_at_unit_norm(model: TopKAutoencoder, pixels: Tensor) -> None:
    reconstruction_loss(model, pixels, living())[0].backward()
    model.remove_radial_gradient()
    gradient = model.decoder.grad
    assert gradient is not None
    assert (gradient * model.decoder).sum(1).abs().max() < 1e-6
    with torch.no_grad():
        model.decoder -= 0.5 * gradient
    model.normalize()
    assert model.decoder.norm(dim=1).tolist() == pytest.approx([1.0] * LATENTS)
