"""Checkpoints without the frozen backbone: its weights' hash is recorded instead, and checked."""

from typing import Any, Self

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from lightning_modules.numbers import check_step
from uibe.errors import MismatchError
from uibe.library.checkpoint import CHECKPOINT_FORMAT, record_of
from uibe.metrics.running import RunningMeans
from uibe.modules.backbone import Backbone

__all__ = [
    "CHECKPOINT_FORMAT",
    "FrozenModule",
    "checked_record",
    "record",
]


class FrozenModule(LightningModule):
    """What the modules share that learn over a frozen backbone: checkpoints without it, and checked steps.

    Attributes:
        backbone: frozen, not in the checkpoint.
        basis: what is learned.
        step_means: of the losses of the epoch so far.
    """

    strict_loading = False  # the frozen backbone is not in the checkpoint; load_state_dict checks the rest
    backbone: Backbone
    basis: nn.Module
    step_means: RunningMeans

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 - Lightning's
        """As Lightning's, of tensors and plain types alone, whatever is asked for: others may run a program.

        `uibe.load` needs no Lightning and says in one line what is wrong with a file.
        """
        return super().load_from_checkpoint(*args, **{**kwargs, "weights_only": True})

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Step, and see that it led somewhere.

        Raises:
            ConfigError: if the run diverged.
        """
        super().optimizer_step(*args, **kwargs)
        check_step(self.basis, self.step_means, self.trainer)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - torch's signature
        """Everything but the frozen backbone, whose weights' hash is recorded instead."""
        state = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401
        """Load what was learned; only the backbone may be missing.

        Raises:
            MismatchError: if a tensor is missing, unknown or of another shape.
        """
        _check_tensors(self.state_dict(), state_dict)
        _follow_precision(self.basis, state_dict, self._trainer)
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        result.missing_keys.clear()  # the backbone's, which are no news
        return result


def record(backbone: Backbone, datamodule: object) -> dict[str, Any]:
    """What is needed to load the checkpoint anywhere else and to refuse the wrong backbone."""
    return {
        "format": CHECKPOINT_FORMAT,
        "weights_sha256": backbone.weights_sha256,
        "datamodule": type(datamodule).__name__,
        "images": getattr(datamodule, "fingerprint", None),
    }


def checked_record(checkpoint: dict[str, Any], backbone: Backbone, datamodule: object) -> dict[str, Any]:
    """The record of a checkpoint that fits the backbone and, where there is one, the data.

    Raises:
        MismatchError: if it is of something else or a newer format, or weights or images differ.
    """
    recorded = record_of(checkpoint)
    backbone.verify_weights(recorded["weights_sha256"])
    now = getattr(datamodule, "fingerprint", None)
    if now is not None and now != recorded.get("images", now):
        raise MismatchError("ckpt_path: learned on other images; give the data of that run (its config.yaml)")
    return recorded


def _check_tensors(own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Refuse tensors that do not fit; Lightning must load loosely, as the backbone is missing.

    Raises:
        MismatchError: if one is missing, unknown or of another shape.
    """
    differing = set(own) ^ set(given) or {name for name in own if own[name].shape != given[name].shape}
    if differing:
        raise MismatchError(f"checkpoint: tensors that do not fit this basis: {', '.join(sorted(differing))}")


def _follow_precision(basis: nn.Module, tensors: dict[str, Tensor], trainer: Trainer | None) -> None:
    """Give a basis the precision of a checkpoint's tensors before it takes them.

    Lightning converts a module for `precision: 64-true` after it has loaded a checkpoint, which would round.
    With another precision of the run, the tensors follow that.
    """
    if trainer is None or trainer.precision == "64-true":
        basis.to(tensors["basis.thresholds"].dtype)
