"""Weights of a network: where they come from, how they are read, loaded and recognised again."""

import hashlib
import importlib.util
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from uibe.errors import ConfigError

__all__ = ["Weights", "check_zip", "hash_state", "is_library_name", "load_weights", "read_weights"]

_SUFFIXES = (".safetensors", ".pth", ".pt", ".pth.tar")
_PACKAGE = "package:"
# DataParallel's prefix, also inside a name as in Places365's AlexNet (`features.module.0.weight`)
_DATA_PARALLEL = re.compile(r"(^|\.)module\.")
# DenseNet as saved before torch 0.4 (Places365's DenseNet161): `denselayer1.norm.1.weight`
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")

_CLASSIFIER = re.compile(r"(fc|heads?|classifier)\.")


@dataclass(frozen=True)
class Weights:
    """The tensors of one weights file.

    Attributes:
        source: the file, for messages.
        tensors: tensors by name, in the file's order.
        metadata: strings that a safetensors file carries; empty for other files.
        from_package: whether a Python package carries it.
    """

    source: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    from_package: bool = False

    @property
    def num_classes(self) -> int | None:
        """Number of outputs of the last layer with a weight matrix or kernel; None if there is none."""
        kernels = [name for name, tensor in self.tensors.items() if tensor.ndim >= 2]
        # safetensors sorts names, so a classifier's own name counts for more than the last position
        named = sorted((name for name in kernels if _CLASSIFIER.match(name)), key=_natural)
        chosen = (named or kernels)[-1:]
        return self.tensors[chosen[0]].shape[0] if chosen else None


def is_library_name(weights: str) -> bool:
    """Tell a library's own name of weights from a file or package.

    Example:
        >>> is_library_name("IMAGENET1K_V1"), is_library_name("net.pth"), is_library_name("package:net")
        (True, False, False)
    """
    looks_like_path = weights.endswith(_SUFFIXES) or "/" in weights or "\\" in weights
    return not (looks_like_path or weights.startswith(_PACKAGE) or os.path.exists(weights))


def read_weights(weights: str) -> Weights:
    """Read a weights file, or the one that a Python package carries.

    Args:
        weights: a `.safetensors`, `.pth`, `.pt` or `.pth.tar` file with a state dict, bare or under
            `state_dict`, with or without `module.` before the names; or `package:NAME` for the only
            weights file inside an installed package, `package:NAME/FILE` for one of several.

    Returns:
        The tensors on the CPU, names as torch uses them today.

    Raises:
        ConfigError: if there is no such file, or it holds no weights.
    """
    path = _packaged_file(weights) if weights.startswith(_PACKAGE) else Path(weights)
    _check_file(path)
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pickled
    tensors, metadata = read(path)
    return Weights(str(path), _modern_names(tensors), metadata, weights.startswith(_PACKAGE))


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Put weights into a network, which they must fit tensor by tensor.

    Names must agree, but `num_batches_tracked` may be missing: files from before torch 0.4.1 have none
    and evaluation does not use it. If `weights.may_load_by_order` and not all names agree, tensors
    are matched by position instead, but only if their number and every single shape agree.

    Args:
        network: changed in place.
        weights: as `read_weights` gives them.

    Raises:
        ConfigError: if they do not fit; the message lists the first keys that are missing, unexpected
            or of another shape.
    """
    wanted, found = network.state_dict(), weights.tensors
    ordered = weights.from_package and not weights.source.endswith(".safetensors")
    if ordered and wanted.keys() != found.keys() and _shapes(wanted) == _shapes(found):
        found = dict(zip(wanted, found.values(), strict=True))
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in found if key not in wanted]
    misshaped = [
        f"{key} {list(found[key].shape)} instead of {list(wanted[key].shape)}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshaped}
    if any(problems.values()):
        summary = "; ".join(f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
        raise ConfigError(f"weights {weights.source} do not fit the backbone: {summary}")
    network.load_state_dict(found, strict=False)


def hash_state(state: Mapping[str, Tensor]) -> str:
    """Hash names, dtypes, shapes and bytes of a state dict, so that equal weights are recognised.

    Args:
        state: tensors by name, on any device.

    Returns:
        SHA-256 as 64 hexadecimal digits; it depends on no file format.

    Example:
        >>> hash_state({"weight": torch.zeros(2)}) == hash_state({"weight": torch.zeros(3)})
        False
    """
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_zip(path: Path) -> None:
    """Compare the parts of a file of `torch.save` with their CRC-32, which `torch.load` does not do.

    Files from before torch 1.6 are no zip files, and have none.

    Raises:
        ValueError: a part is damaged.
        Exception: of other kinds, if the zip file itself is.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not have its CRC-32")


def _packaged_file(weights: str) -> Path:
    name, _, inner = weights.removeprefix(_PACKAGE).partition("/")
    folder = _package_folder(name, weights)
    if inner:
        return folder / inner
    files = sorted(path for path in folder.rglob("*") if path.name.endswith(_SUFFIXES))
    if len(files) == 1:
        return files[0]
    if not files:
        raise ConfigError(f"weights {weights}: no weights file ({', '.join(_SUFFIXES)}) inside {folder}")
    choices = _first([f"{_PACKAGE}{name}/{path.relative_to(folder).as_posix()}" for path in files])
    raise ConfigError(f"weights {weights}: the package carries {len(files)} files: choose of {choices}")


def _package_folder(name: str, weights: str) -> Path:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"weights {weights}: no installed package {name!r}: install it or name another one")
    return Path(next(iter(spec.submodule_search_locations)))


def _check_file(path: Path) -> None:
    if not os.path.isfile(path):  # unlike pathlib's, also if the name is too long to be one
        raise ConfigError(f"weights {path}: no such file: give an existing {', '.join(_SUFFIXES)} file")
    if not path.name.endswith(_SUFFIXES):
        raise ConfigError(f"weights {path}: expected a {', '.join(_SUFFIXES)} file")
    try:
        with path.open("rb") as file:
            start = file.read(40)
    except OSError as error:
        raise ConfigError(f"weights {path}: cannot be read: {error.strerror}") from error
    if start.startswith(b"version https://git-lfs"):
        raise ConfigError(f"weights {path}: only a git-lfs pointer: fetch the file with `git lfs pull`")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 # not a mapping
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"weights {path}: truncated or no safetensors file: fetch it again") from error


def _read_pickled(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with warnings.catch_warnings():
            # old files hold storages that torch still reads, but warns about
            warnings.filterwarnings("ignore", message=".*TypedStorage is deprecated")
            check_zip(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        advice = "save its state dict alone, torch.save(network.state_dict(), file)"
        raise ConfigError(f"weights {path}: damaged, or holds more than tensors: {advice}") from error
    except Exception as error:  # whatever the unpickler makes of a file that is no pickle
        raise ConfigError(f"weights {path}: truncated or not saved by torch: fetch it again") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"weights {path}: expected a dict of tensors by name, bare or under 'state_dict'")
    return state, {}


def _modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    bare = {_DATA_PARALLEL.sub(r"\1", name): tensor for name, tensor in tensors.items()}
    return {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in bare.items()}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else -1, part) for part in name.split(".")]


def _shapes(state: Mapping[str, Tensor]) -> list[torch.Size]:
    return [tensor.shape for tensor in state.values()]


def _first(keys: list[str], count: int = 3) -> str:
    rest = len(keys) - count
    return ", ".join(keys[:count]) + (f" and {rest} more" if rest > 0 else "")
