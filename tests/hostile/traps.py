"""Things that leave a trace when they are run."""

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

MARK = Path(tempfile.gettempdir()) / f"uibe-trap-{os.getpid()}"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(MARK),)


def arm(path: Path, content: dict[str, Any]) -> Path:
    """Write a checkpoint or weights with a bomb in it, and see that it would go off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "bomb": Bomb()}, path)
    torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
    assert went_off()
    return path


def went_off() -> bool:
    """Whether a trap was run since this was last asked."""
    if not MARK.exists():
        return False
    MARK.rmdir()
    return True


def no_network() -> int:
    """Callable without arguments, and no network's factory by its own words."""
    MARK.mkdir()
    return 0


class NoNetwork:
    """A class of anything else."""

    def __init__(self) -> None:
        MARK.mkdir()
