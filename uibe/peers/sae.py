"""A TopK sparse autoencoder of pixels (Gao et al. 2024, arXiv 2406.04093)."""

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from uibe.errors import ConfigError
from uibe.peers.interface import Features, Peer
from uibe.peers.sample import sample_to_fit, shuffled_positions
from uibe.peers.signs import unit_rows

__all__ = ["TopKAutoencoder", "keep_largest", "reconstruction_loss", "sae"]

_BATCH = 1024
_DEAD_AFTER = 50_000  # pixels at which a latent was not among the largest
_AUXILIARY = 1 / 32  # weight of the dead latents' loss, the paper's


class TopKAutoencoder(nn.Module):
    """`z = TopK(W_enc (x - b))`, `x' = W_dec z + b`, the decoder's columns of unit norm (section 2.3).

    Encoder and decoder start as each other's transpose, which leaves few latents dead (appendix A).

    Args:
        bias: b at the start, `(D,)`.
        latents: I.
        k: latents that a pixel may use.
        generator: source of the start, on the CPU.

    Example:
        >>> autoencoder = TopKAutoencoder(torch.zeros(8), 16, k=2, generator=torch.Generator().manual_seed(0))
        >>> codes = keep_largest(autoencoder.encode(torch.ones(5, 8)), autoencoder.k)
        >>> (codes > 0).sum(1).tolist(), autoencoder.decode(codes).shape
        ([2, 2, 2, 2, 2], torch.Size([5, 8]))
    """

    def __init__(self, bias: Tensor, latents: int, k: int, generator: torch.Generator) -> None:
        super().__init__()
        start = F.normalize(torch.randn(latents, len(bias), generator=generator), dim=1).to(bias)
        self.k = k
        self.encoder = nn.Parameter(start.clone())
        self.decoder = nn.Parameter(start)  # rows are the paper's columns
        self.bias = nn.Parameter(bias.clone())

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents before TopK, `(P, D)` to `(P, I)`."""
        return (pixels - self.bias) @ self.encoder.T

    def decode(self, codes: Tensor) -> Tensor:
        """Reconstruction, `(P, I)` to `(P, D)`."""
        return codes @ self.decoder + self.bias

    @torch.no_grad()
    def remove_radial_gradient(self) -> None:
        """Take from the decoder's gradient what would only change norms, before a step."""
        gradient = self.decoder.grad
        if gradient is not None:
            gradient -= torch.linalg.vecdot(gradient, self.decoder)[:, None] * self.decoder

    @torch.no_grad()
    def normalize(self) -> None:
        """Bring the decoder back to unit norms, after a step."""
        self.decoder.copy_(F.normalize(self.decoder, dim=1))


def keep_largest(values: Tensor, k: int) -> Tensor:
    """The k largest values of each row where they are positive, 0 elsewhere; `(P, I)` both.

    Example:
        >>> keep_largest(torch.tensor([[3.0, 1.0, 2.0], [-1.0, -2.0, 5.0]]), k=2).tolist()
        [[3.0, 0.0, 2.0], [0.0, 0.0, 5.0]]
    """
    largest = values.topk(k, dim=1)
    return torch.zeros_like(values).scatter(1, largest.indices, largest.values.relu())


def reconstruction_loss(model: TopKAutoencoder, pixels: Tensor, dead: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error, and 1/32 of the share of the error that dead latents leave (section A.2).

    The dead latents' largest, at most D / 2 of them, are to reconstruct what the living ones miss.

    Args:
        model: the autoencoder.
        pixels: `(P, D)`.
        dead: `(I,)` bool.

    Returns:
        The loss, shape `()`, and which latents were used at any pixel, `(I,)` bool.

    Example:
        >>> model = TopKAutoencoder(torch.zeros(4), 4, k=1, generator=torch.Generator().manual_seed(0))
        >>> loss, used = reconstruction_loss(model, torch.ones(2, 4), torch.zeros(4, dtype=torch.bool))
        >>> loss.shape, int(used.sum())
        (torch.Size([]), 1)
    """
    latents = model.encode(pixels)
    codes = keep_largest(latents, model.k)
    error = pixels - model.decode(codes)
    loss = error.square().mean()
    helpers = min(int(dead.sum()), pixels.shape[1] // 2)
    if helpers:
        target = error.detach()
        guess = keep_largest(latents.masked_fill(~dead, -torch.inf), helpers) @ model.decoder
        left = (target - guess).square().mean() / target.square().mean().clamp(min=1e-12)
        loss = loss + _AUXILIARY * left
    return loss, (codes > 0).any(0)


def sae(
    data: Features,
    seed: int = 0,
    progress: bool = False,
    latents: int | None = None,
    k: int | None = None,
    pixels: int = 100_000,
    steps: int = 2000,
    lr: float | None = None,
) -> Peer:
    """Encoder rows of a TopK sparse autoencoder: what its latents are detected with.

    One number scales all pixels to a mean variance of 1, which changes no direction. Adam with a cosine
    schedule, 1024 pixels a batch, on the device of the features.

    Args:
        data: features.
        seed: of the sample, the start and the batches.
        progress: whether to show bars.
        latents: I; null for D, so that S1 can be compared.
        k: latents that a pixel may use; null for D / 32, at least 4.
        pixels: size of the sample.
        steps: optimizer steps.
        lr: learning rate at the start; null for 0.04 / sqrt(D), a fixed share of an entry of a unit row.

    Raises:
        ConfigError: if an argument is out of range.
        DataError: if the features are constant, or not finite.

    Example:
        >>> class Sparse:
        ...     values = torch.rand(50, 8, 1, 1, generator=torch.Generator().manual_seed(0)) ** 8
        ...     num_pixels = lambda self, split: 50
        ...     feature_batches = lambda self, split: [self.values]
        >>> sae(Sparse(), k=2, steps=5).directions.shape
        torch.Size([8, 8])
    """
    sample = sample_to_fit(data, pixels, seed, progress)
    num_features = sample.shape[1]
    latents = num_features if latents is None else latents
    k = min(max(4, num_features // 32), latents) if k is None else k
    lr = 0.04 / num_features**0.5 if lr is None else lr
    if not 1 <= k <= latents or steps < 1:
        raise ConfigError(f"expected 1 <= k <= latents and steps from 1, got {k}, {latents} and {steps}")
    mean = sample.mean(0)
    scale = torch.stack([(part - mean).square().mean(1).sum() for part in torch.split(sample, _BATCH)]).sum()
    scale = (scale / len(sample)).sqrt()
    generator = torch.Generator().manual_seed(seed)
    model = TopKAutoencoder(mean / scale, latents, k, generator)
    _train(model, sample, scale, generator, steps, lr, progress)
    return Peer(unit_rows(model.encoder.detach()), len(sample))


def _train(
    model: TopKAutoencoder,
    sample: Tensor,
    scale: Tensor,
    generator: torch.Generator,
    steps: int,
    lr: float,
    progress: bool,
) -> None:
    optimizer = Adam(model.parameters(), lr=lr)
    schedule = CosineAnnealingLR(optimizer, steps)
    unused = torch.zeros(len(model.encoder), dtype=torch.int64, device=sample.device)
    batches = shuffled_positions(len(sample), _BATCH, steps, generator)
    for positions in track(batches, "Training sae", total=steps, disable=not progress, transient=True):
        pixels = sample[positions.to(sample.device)] / scale
        loss, used = reconstruction_loss(model, pixels, unused >= _DEAD_AFTER)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        model.remove_radial_gradient()
        optimizer.step()
        schedule.step()
        model.normalize()
        unused = torch.where(used, 0, unused + len(pixels))
