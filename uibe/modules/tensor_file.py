"""Tensors in a safetensors file that is whole under its name, or not there."""

import contextlib
import uuid
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from uibe.errors import DataError

__all__ = ["write_tensors"]


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
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        partial.touch()  # with the user's own mode, which the writer would restrict
        mode = partial.stat().st_mode
        content = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        save_file(content, partial, dict(metadata))
        partial.chmod(mode)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}: cannot be written ({reason}); free space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
