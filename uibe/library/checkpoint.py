"""Reading checkpoints without a trainer, and without running anything that they name."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from uibe.errors import ConfigError, MismatchError, printable
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors
from uibe.modules.rotation import is_rotation
from uibe.modules.weights import check_zip

__all__ = [
    "CHECKPOINT_FORMAT",
    "SIZES",
    "backbone_from",
    "basis_from",
    "check_options",
    "hyper_parameters",
    "is_digest",
    "is_supervised",
    "read_checkpoint",
    "record_of",
]

CHECKPOINT_FORMAT = 2
"""What train.py writes, raised when earlier code would misread it; every earlier one is still read.

1 was written before a checkpoint could be of a supervised basis, or of options that the first code lacks. Its
options are a subset of today's, and the others change nothing in what it learned or how it goes on.
"""
SIZES = ("image_size", "mean", "std", "input_range")
"""Options of the backbone's input."""

_MODULES = ("BasisModule", "SupervisedModule")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of `train.py` onto the CPU, tensors and plain types only.

    Raises:
        ConfigError: if there is no such file.
        MismatchError: if it is damaged, not such a checkpoint, contradicts itself, or is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"ckpt_path: {path}: no such file; give a checkpoint that train.py wrote")
    try:
        check_zip(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no checkpoint, the unpickler fails in any way
        reason = printable((str(error).splitlines() or ["unreadable"])[0])
        raise MismatchError(f"{path}: damaged or no checkpoint ({reason}); {_instead_of(path)}") from error
    record_of(checkpoint, path)
    try:
        _check(checkpoint)
        state = checkpoint["state_dict"]
        broken = [printable(name) for name, each in state.items() if not each.isfinite().all()]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason = printable((str(error).splitlines() or ["incomplete"])[0])
        raise MismatchError(f"{path}: contradicts itself ({reason}); {_instead_of(path)}") from error
    if broken:
        raise MismatchError(f"{path}: {', '.join(broken)} not finite, the run diverged; {_instead_of(path)}")
    return dict(checkpoint)


def record_of(checkpoint: object, place: object = "checkpoint") -> dict[str, Any]:
    """What a checkpoint says of itself: `format`, the backbone's hash, the data.

    Args:
        checkpoint: what its file holds.
        place: names it in errors.

    Raises:
        MismatchError: if it is not one of this project, or of a newer format.

    Example:
        >>> record_of({"uibe": {"format": CHECKPOINT_FORMAT + 1}})
        Traceback (most recent call last):
        uibe.errors.MismatchError: checkpoint: format 3 is newer than this version's, 2; update uibe
    """
    recorded = checkpoint.get("uibe") if isinstance(checkpoint, dict) else None
    if recorded is None:
        raise MismatchError(f"{place}: not a checkpoint of this project; give one that train.py wrote")
    version = recorded.get("format") if isinstance(recorded, dict) else None
    if isinstance(version, int) and version > CHECKPOINT_FORMAT:
        raise MismatchError(
            f"{place}: format {version} is newer than this version's, {CHECKPOINT_FORMAT}; update uibe"
        )
    found: dict[str, Any] = recorded
    return found


def _check(checkpoint: dict[str, Any]) -> None:
    """Errors of any kind unless the parts that are used here are there and fit each other."""
    recorded, options = checkpoint["uibe"], checkpoint["hyper_parameters"]
    if not isinstance(recorded["format"], int) or not is_digest(recorded["weights_sha256"]):
        raise TypeError("its record is not one of train.py")
    check_options(options)
    basis = basis_from(checkpoint)
    if not isinstance(basis, InterpretableBasis):
        return
    base = basis.rotation.base
    if base.isfinite().all() and not is_rotation(base):  # what is not finite is named below
        raise ValueError("its rotation is none")


def is_digest(value: object) -> bool:
    """Whether this can be a SHA-256: anything else would be blamed on the weights.

    Example:
        >>> is_digest("0a" * 32), is_digest("0a8bfca6"), is_digest(None)
        (True, False, False)
    """
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def check_options(options: Mapping[str, Any]) -> None:
    """Look whether the backbone's options are of the right types; what they mean is checked by it.

    Raises:
        KeyError: if one is missing.
        TypeError: if one is of another type.
    """
    texts = {name: options[name] for name in ("backbone", "layer", "weights")}
    if texts["weights"] is None:
        del texts["weights"]
    odd = [name for name, text in texts.items() if not (isinstance(text, str) and text.isprintable())]
    odd += [name for name in SIZES if not _is_size(name, options[name])]
    if odd:
        raise TypeError(f"{odd[0]}: {options[odd[0]]!r}")


def _is_size(name: str, value: object) -> bool:
    """Whether this can be an option of the backbone's input; what it means is checked there."""
    values = [value] if name == "image_size" and isinstance(value, int) else value
    if not isinstance(values, list):
        return value is None
    kind = int if name == "image_size" else int | float
    numbers = [each for each in values if isinstance(each, kind) and not isinstance(each, bool)]
    return len(numbers) == len(values) and all(map(math.isfinite, numbers))


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


def basis_from(checkpoint: dict[str, Any]) -> InterpretableBasis | LinearDetectors:
    """The basis alone, without its backbone.

    Raises:
        MismatchError: if the module is unknown, or a tensor of another type than the others.
    """
    options, state = hyper_parameters(checkpoint), checkpoint["state_dict"]
    tensors = {
        name.removeprefix("basis."): value for name, value in state.items() if name.startswith("basis.")
    }
    kind = options["standardization"]
    basis: InterpretableBasis | LinearDetectors
    if is_supervised(checkpoint):
        num_detectors, num_features = tensors["weights"].shape
        basis = LinearDetectors(num_features, num_detectors, kind)
        basis.names = tuple(map(printable, checkpoint["uibe"]["concepts"]))
    else:
        basis = InterpretableBasis(len(tensors["thresholds"]), kind, options["rotation_map"])
    basis.to(tensors["thresholds"].dtype)
    differing = [name for name, own in basis.state_dict().items() if tensors[name].dtype != own.dtype]
    if differing:
        raise MismatchError(f"checkpoint: basis.{differing[0]} is of another type than the other tensors")
    basis.load_state_dict(tensors)
    return basis.eval()


def backbone_from(checkpoint: dict[str, Any], weights: str | None = None) -> Backbone:
    """The backbone that the basis was learned on, its weights verified.

    Args:
        checkpoint: from `read_checkpoint`.
        weights: where the backbone's weights are now, if not where they were.

    Raises:
        MismatchError: if the backbone's weights differ from the recorded ones.
    """
    options = hyper_parameters(checkpoint)
    sizes = {name: options[name] for name in SIZES}
    backbone = Backbone(options["backbone"], weights or options["weights"], options["layer"], **sizes)
    backbone.verify_weights(checkpoint["uibe"]["weights_sha256"])
    return backbone


def is_supervised(checkpoint: dict[str, Any]) -> bool:
    """Whether a `SupervisedModule` wrote it; `BasisModule` does not record its name, nor ever did.

    Raises:
        MismatchError: if the module is unknown.
    """
    name = checkpoint["uibe"].get("module", _MODULES[0])
    if name not in _MODULES:
        raise MismatchError(f"checkpoint: module {name!r} is unknown; update uibe")
    return bool(name == _MODULES[1])
