"""Options of `BasisModule` that need more than a name: their ranges, and the learning rate's schedule."""

import math
from collections.abc import Callable
from typing import Any

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from uibe.errors import ConfigError

__all__ = ["check_ranges", "scheduled"]


def check_ranges(options: Any) -> None:  # noqa: ANN401 - Lightning's attribute dictionary
    """Refuse options that would give a meaningless loss, naming the option."""
    rules = {
        "start_firing": options.start_firing is None or 0 <= options.start_firing < 1,
        "gamma": options.gamma > 0,
        "tau": 0 <= options.tau <= 1,
        "lr": options.lr > 0,
        "rebase_every": options.rebase_every >= 0,
        "max_angle": options.max_angle is None or options.max_angle > 0,
    }
    if options.rotation_map == "polynomial" and not options.rebase_every:
        raise ConfigError(
            "model.rotation_map: polynomial turns only a little way from its base; take cayley, or set "
            "model.rebase_every to 1 or more"
        )
    for name, holds in rules.items():
        if not holds:
            raise ConfigError(
                f"model.{name}: {getattr(options, name)} is out of range; see README.md for its help"
            )


def scheduled(optimizer: Optimizer, options: Any, steps: Callable[[], int | float]) -> OptimizerLRScheduler:  # noqa: ANN401
    """The optimizer with the schedule that `options.lr_schedule` names.

    Args:
        optimizer: whose learning rate to change.
        options: of the module.
        steps: gives the number of steps of the run.

    Raises:
        ConfigError: if a cosine has no end.
    """
    if options.lr_schedule == "constant":
        return optimizer
    if options.lr_schedule == "cosine":
        # a closed form of the step: a run resumed with more epochs goes on along the longer curve
        return [optimizer], [{"scheduler": LambdaLR(optimizer, _cosine(steps())), "interval": "step"}]
    plateau = ReduceLROnPlateau(
        optimizer,
        factor=options.plateau_factor,
        patience=options.plateau_patience,
        cooldown=options.plateau_cooldown,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "loss/total"}}


def _cosine(steps: int | float) -> Callable[[int], float]:
    """Half a cosine from 1 at step 0 to 0 at the last."""
    if not math.isfinite(steps):
        raise ConfigError(
            "model.lr_schedule: cosine needs an end; set trainer.max_epochs or trainer.max_steps"
        )
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
