"""Refusing to go on with numbers that say nothing: a run that diverged, a precision that cannot hold it."""

from pytorch_lightning import Trainer
from torch import nn

from uibe.errors import ConfigError
from uibe.metrics.running import RunningMeans

__all__ = ["check_divergence", "check_step", "check_trainer"]

_EVERY = 64  # steps between looks, each of which waits for the device


def check_trainer(trainer: Trainer) -> None:
    """Refuse a trainer that a basis cannot be learned with.

    Raises:
        ConfigError: with gradient accumulation, under which expectations are of small batches, or parameters
            of half precision: sums over pixels overflow, and a rotation does not stay one.
    """
    if trainer.accumulate_grad_batches != 1:
        raise ConfigError("trainer.accumulate_grad_batches: expected 1; raise data.pixels_per_batch instead")
    if trainer.precision in ("16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision: {trainer.precision} has too few digits to learn a basis in; "
            f"take {trainer.precision.replace('true', 'mixed')}, 32-true or 64-true"
        )


def check_divergence(basis: nn.Module, means: RunningMeans, step: int) -> None:
    """Refuse a basis or losses that are not finite: every score that followed would be made of nothing.

    Args:
        basis: all of its tensors are looked at.
        means: of the epoch's losses so far.
        step: optimizer steps so far, for the message.

    Raises:
        ConfigError: naming what is not finite.
    """
    tensors = {**basis.state_dict(), "losses": means.totals}
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise ConfigError(
            f"model: {', '.join(broken)} not finite after step {step}: the run diverged; lower model.lr, or "
            "look at the loss's weights, model.margin and the size of the features"
        )


def check_step(basis: nn.Module, means: RunningMeans, trainer: Trainer) -> None:
    """As `check_divergence` after an optimizer step, now and then, and before the end of an epoch or run."""
    step = trainer.global_step + 1  # Lightning counts it after the hook
    if trainer.is_last_batch or step % _EVERY == 0 or step == trainer.max_steps:
        check_divergence(basis, means, step)
