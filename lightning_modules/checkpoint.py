"""Modules from checkpoints, without a trainer; `uibe.library.checkpoint` reads the files."""

from typing import Any

from lightning_modules.basis import BasisModule
from lightning_modules.supervised import SupervisedModule
from uibe.errors import ConfigError, MismatchError
from uibe.library.checkpoint import basis_from, hyper_parameters, is_supervised, read_checkpoint

__all__ = ["basis_from", "hyper_parameters", "module_from", "read_checkpoint"]


def module_from(checkpoint: dict[str, Any], weights: str | None = None) -> BasisModule | SupervisedModule:
    """Build the module of a checkpoint; the backbone's weights are verified.

    Args:
        checkpoint: from `read_checkpoint`.
        weights: where the backbone's weights are now, if not where they were.

    Raises:
        ConfigError: if an option cannot be honoured.
        MismatchError: if the module is unknown, its options make none, or the backbone's weights differ from
            the recorded ones.
    """
    options = hyper_parameters(checkpoint)
    options = options if weights is None else {**options, "weights": weights}
    kind = SupervisedModule if is_supervised(checkpoint) else BasisModule
    try:
        module = kind(**options)
    except (ConfigError, MismatchError):
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise MismatchError(f"checkpoint: its options make no module ({reason}); take another one") from error
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()
