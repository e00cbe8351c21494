"""Checkpoints without the frozen backbone: its weights' hash is recorded instead, and checked."""

from typing import Any

from pytorch_lightning import Trainer
from torch import Tensor, nn

from uibe.errors import MismatchError
from uibe.library.checkpoint import CHECKPOINT_FORMAT, record_of
from uibe.modules.backbone import Backbone

__all__ = [
    "CHECKPOINT_FORMAT",
    "check_tensors",
    "checked_record",
    "follow_precision",
    "record",
    "without_backbone",
]


def without_backbone(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict less the backbone's tensors."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("backbone.")}


def check_tensors(own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Refuse tensors that do not fit; Lightning must load loosely, as the backbone is missing.

    Raises:
        MismatchError: if one is missing, unknown or of another shape.
    """
    differing = set(own) ^ set(given) or {name for name in own if own[name].shape != given[name].shape}
    if differing:
        raise MismatchError(f"checkpoint: tensors that do not fit this basis: {', '.join(sorted(differing))}")


def follow_precision(basis: nn.Module, tensors: dict[str, Tensor], trainer: Trainer | None) -> None:
    """Give a basis the precision of a checkpoint's tensors before it takes them.

    Lightning converts a module for `precision: 64-true` after it has loaded a checkpoint, which would round.
    With another precision of the run, the tensors follow that.
    """
    if trainer is None or trainer.precision == "64-true":
        basis.to(tensors["basis.thresholds"].dtype)


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
