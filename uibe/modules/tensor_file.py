"""Tensors in a safetensors file that is whole under its name, or not there, and their checksum."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from uibe.errors import DataError
from uibe.files import publish, temporary_file
from uibe.modules.weights import hash_state

__all__ = ["checksum", "verify_checksum", "write_tensors"]

_CHECKSUM = "tensors_sha256"


def checksum(tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, str]:
    """What to put into the metadata so that `verify_checksum` finds a change of these tensors.

    Args:
        tensors: by name, on any device.
        names: those that will be read again, in that order.

    Example:
        >>> import torch
        >>> found = checksum({"x": torch.ones(2)}, ["x"])
        >>> verify_checksum({"x": torch.ones(2)}, found)
        >>> verify_checksum({"x": torch.zeros(2)}, found)
        Traceback (most recent call last):
        ValueError: its tensors do not have the SHA-256 that it states
    """
    return {_CHECKSUM: hash_state({name: tensors[name] for name in names})}


def verify_checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Refuse tensors that are not those of the metadata's checksum; the first files had none.

    Args:
        tensors: what was read, in the order that `checksum` was given.
        metadata: of the same file.

    Raises:
        ValueError: if they differ.
    """
    stated = metadata.get(_CHECKSUM)
    if stated is not None and stated != hash_state(tensors):
        raise ValueError("its tensors do not have the SHA-256 that it states")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors beside their place, under a name of their own, and then rename the file.

    Args:
        path: the file; its folder is there.
        tensors: by name, on any device.
        metadata: strings to keep beside them.

    Raises:
        DataError: if it cannot be written; what stood at its place stays.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tensors(Path(folder, "a.safetensors"), {"x": torch.ones(2)}, {})
        ...     [path.name for path in Path(folder).iterdir()]
        ['a.safetensors']
    """
    content = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        with temporary_file(path) as temporary:
            temporary.touch()  # with the user's own mode, which the writer would restrict
            mode = temporary.stat().st_mode
            save_file(content, temporary, dict(metadata))
            temporary.chmod(mode)
            publish(temporary, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be written ({reason}); free space or choose another folder"
        ) from error
