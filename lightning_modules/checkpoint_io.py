"""Checkpoints that are whole or not there."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from uibe.errors import DataError

__all__ = ["AtomicCheckpointIO"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its place, force it to disk, and then rename it.

    Lightning's own writes to the system's folder for temporary files and moves the file from there, which
    copies it where that folder is on another disk: a process killed then leaves half a file.

    Raises:
        DataError: when saving, if it cannot be written; what stood at its place stays.
    """

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = lambda storage, place: storage,  # noqa: ANN401 - Lightning's signature
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Load tensors and plain types, whatever is asked for: anything else may run a program."""
        return super().load_checkpoint(path, map_location, weights_only=True)

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 - Lightning's signature
    ) -> None:
        """Save to a local file; anything else that Lightning can write to is left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        partial = path.with_name(f"{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(checkpoint, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer says of a full disk what it likes
            partial.unlink(missing_ok=True)
            raise DataError(
                f"{path}: the checkpoint cannot be written ({_reason(error)}); the one before it is intact: "
                "free space, then go on with --resume auto"
            ) from error


def _write_synced(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    """The operating system's word on it, which torch's writer may hide behind its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return str((cause and cause.strerror) or error).splitlines()[0]
