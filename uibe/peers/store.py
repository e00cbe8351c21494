"""Fitted peers on disk, and bases that other programs wrote."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from uibe.errors import ConfigError, DataError, MismatchError
from uibe.modules.tensor_file import write_tensors

__all__ = ["load_detectors", "load_peer", "save_peer"]


def save_peer(path: Path, directions: Tensor, thresholds: Tensor, num_pixels: int) -> None:
    """Write a peer under a temporary name, then its own, so that nothing partial is left.

    Args:
        path: the file; its folder is made.
        directions: `(I, D)` in raw feature space.
        thresholds: `(I,)`.
        num_pixels: it was fitted on.

    Raises:
        DataError: if it cannot be written.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_peer(Path(folder, "pca.safetensors"), torch.eye(2), torch.ones(2), 100)
        ...     load_peer(Path(folder, "pca.safetensors"))[2]
        100
    """
    tensors = {"directions": directions, "thresholds": thresholds}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another cache_dir") from error
    write_tensors(path, tensors, {"num_pixels": str(num_pixels)})


def load_peer(path: Path) -> tuple[Tensor, Tensor, int]:
    """Directions, thresholds and the number of pixels of a peer that `save_peer` wrote.

    Raises:
        MismatchError: if the file is damaged.
    """
    directions, thresholds = load_detectors(path)
    with safe_open(path, "pt") as file:
        recorded = (file.metadata() or {}).get("num_pixels", "")
    if not recorded.isdigit():
        raise MismatchError(f"{path}: expected a fitted peer; delete the file, and it is fitted again")
    return directions, thresholds, int(recorded)


def load_detectors(path: Path) -> tuple[Tensor, Tensor]:
    """`directions (I, D)` and `thresholds (I,)` in raw feature space of a file `basis.safetensors`.

    `evaluate.py export` writes such files; any program may, with these two tensors.

    Raises:
        ConfigError: if there is no such file.
        MismatchError: if it holds no such tensors, or values that are not finite.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a basis as `evaluate.py export` writes it")
    try:
        with safe_open(path, "pt") as file:
            directions, thresholds = file.get_tensor("directions"), file.get_tensor("thresholds")
    except (SafetensorError, OSError) as error:
        raise MismatchError(f"{path}: expected tensors `directions` and `thresholds`: {error}") from error
    fits = directions.ndim == 2 and thresholds.shape == directions.shape[:1] and len(thresholds) > 0
    if not fits or not all(each.is_floating_point() for each in (directions, thresholds)):
        raise MismatchError(
            f"{path}: expected directions (I, D) and thresholds (I,), got "
            f"{tuple(directions.shape)} and {tuple(thresholds.shape)}"
        )
    if not directions.isfinite().all() or not thresholds.isfinite().all():
        raise MismatchError(f"{path}: expected finite numbers; export the basis again")
    return directions.float(), thresholds.float()
