"""Reading checkpoints without a trainer, and without running anything that they name."""

from pathlib import Path
from typing import Any

import torch

from lightning_modules.basis import BasisModule
from lightning_modules.frozen import CHECKPOINT_FORMAT
from lightning_modules.supervised import SupervisedModule
from uibe.errors import ConfigError, MismatchError
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

__all__ = ["basis_from", "hyper_parameters", "module_from", "read_checkpoint"]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of `train.py` onto the CPU, tensors and plain types only.

    Raises:
        ConfigError: if there is no such file.
        MismatchError: if it is damaged, or is not such a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"ckpt_path: {path}: no such file; give a checkpoint that train.py wrote")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no checkpoint, the unpickler fails in any way
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise MismatchError(f"{path}: damaged or no checkpoint ({reason}); {_instead_of(path)}") from error
    recorded = checkpoint.get("uibe") if isinstance(checkpoint, dict) else None
    if recorded is None:
        raise MismatchError(f"{path}: not a checkpoint of this project; give one that train.py wrote")
    if recorded["format"] > CHECKPOINT_FORMAT:
        raise MismatchError(f"{path}: format {recorded['format']} is newer than this version's; update uibe")
    return dict(checkpoint)


def _instead_of(path: Path) -> str:
    """What to take for a damaged checkpoint."""
    previous = path.with_name("previous.ckpt")
    if path == previous or not previous.is_file():
        return "take an earlier one"
    try:
        read_checkpoint(previous)
    except MismatchError:
        return "take an earlier one"
    return f"take {previous}, the one before it"


def hyper_parameters(checkpoint: dict[str, Any], which: str = "hyper_parameters") -> dict[str, Any]:
    """The arguments that a module or data module was made with, less Lightning's own notes."""
    return {name: value for name, value in checkpoint.get(which, {}).items() if not name.startswith("_")}


def module_from(checkpoint: dict[str, Any], weights: str | None = None) -> BasisModule | SupervisedModule:
    """Build the module of a checkpoint; the backbone's weights are verified.

    Args:
        checkpoint: from `read_checkpoint`.
        weights: where the backbone's weights are now, if not where they were.

    Raises:
        MismatchError: if the module is unknown, or the backbone's weights differ from the recorded ones.
    """
    options = hyper_parameters(checkpoint)
    options = options if weights is None else {**options, "weights": weights}
    module = SupervisedModule(**options) if _is_supervised(checkpoint) else BasisModule(**options)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    return module.eval()


def basis_from(checkpoint: dict[str, Any]) -> InterpretableBasis | LinearDetectors:
    """The basis alone, without its backbone.

    Raises:
        MismatchError: if the module is unknown.
    """
    options, state = hyper_parameters(checkpoint), checkpoint["state_dict"]
    tensors = {
        name.removeprefix("basis."): value for name, value in state.items() if name.startswith("basis.")
    }
    kind = options["standardization"]
    basis: InterpretableBasis | LinearDetectors
    if _is_supervised(checkpoint):
        num_detectors, num_features = tensors["weights"].shape
        basis = LinearDetectors(num_features, num_detectors, kind)
        basis.names = tuple(checkpoint["uibe"]["concepts"])
    else:
        basis = InterpretableBasis(len(tensors["thresholds"]), kind, options["rotation_map"])
    basis.to(tensors["thresholds"].dtype).load_state_dict(tensors)
    return basis.eval()


def _is_supervised(checkpoint: dict[str, Any]) -> bool:
    """Whether a `SupervisedModule` wrote it; `BasisModule` does not record its name, nor ever did."""
    name = checkpoint["uibe"].get("module", BasisModule.__name__)
    if name not in (BasisModule.__name__, SupervisedModule.__name__):
        raise MismatchError(f"checkpoint: module {name!r} is unknown; update uibe")
    return bool(name == SupervisedModule.__name__)
