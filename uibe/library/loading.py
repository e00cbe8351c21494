"""Concept detectors from what was written to disk."""

from pathlib import Path
from typing import Any

from uibe.errors import ConfigError
from uibe.library.checkpoint import backbone_from, basis_from, hyper_parameters, read_checkpoint
from uibe.library.detector import ConceptDetector
from uibe.library.folder import read_folder
from uibe.modules.backbone import Backbone

__all__ = ["detector_from", "load"]


def load(path: str | Path, weights: str | None = None, device: str = "cpu") -> ConceptDetector:
    """Concept detectors of a checkpoint of train.py, or of a folder that `evaluate.py export` wrote.

    Args:
        path: checkpoint or folder.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.

    Raises:
        ConfigError: if there is nothing there, or backbone or device cannot be had.
        MismatchError: if it is damaged, or was made with other weights.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigError(
            f"{path}: nothing there; give a checkpoint, or a folder that `evaluate.py export` wrote"
        )
    detector = _of_folder(path, weights) if path.is_dir() else detector_from(read_checkpoint(path), weights)
    return detector.to(device)


def detector_from(checkpoint: dict[str, Any], weights: str | None = None) -> ConceptDetector:
    """Concept detectors of a checkpoint; their labels are not in it.

    Args:
        checkpoint: from `uibe.library.checkpoint.read_checkpoint`.
        weights: where the backbone's weights are now, if not where they were.

    Raises:
        MismatchError: if the backbone's weights differ from the recorded ones.
    """
    data = hyper_parameters(checkpoint, "datamodule_hyper_parameters")
    root = data.get("root")
    found = root if isinstance(root, str) and Path(root).is_dir() else None
    return ConceptDetector(backbone_from(checkpoint, weights), basis_from(checkpoint), root=found)


def _of_folder(path: Path, weights: str | None) -> ConceptDetector:
    found = read_folder(path)
    options = found.options if weights is None else {**found.options, "weights": weights}
    backbone = Backbone(**options)
    backbone.verify_weights(found.weights_sha256)
    return ConceptDetector(backbone, found.basis.eval(), found.labels, grouping=found.grouping)
