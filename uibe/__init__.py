"""Unsupervised Interpretable Basis Extraction: the core, which knows torch and nothing of Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from uibe.library import ConceptDetector

__all__ = ["load"]


def load(path: str | Path, weights: str | None = None, device: str = "cpu") -> ConceptDetector:
    """Concept detectors of a checkpoint of train.py, or of a folder that `evaluate.py export` wrote.

    Args:
        path: checkpoint or folder.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.

    Raises:
        ConfigError: if there is nothing there, or the backbone cannot be built.
        MismatchError: if it is damaged, or was made with other weights.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from uibe.library import ConceptDetector
        >>> from uibe.modules import Backbone, InterpretableBasis
        >>> backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = ConceptDetector(backbone, InterpretableBasis(64)).save(folder)
        ...     detector = load(folder)
        >>> detector.segment(Image.new("RGB", (40, 30)))[0].directions.shape
        torch.Size([30, 40])
    """
    # here, so that `import uibe.functional` stays a matter of torch alone
    from uibe.library.loading import load as load_detector

    return load_detector(path, weights, device)
