"""Using a learned basis from Python: concepts in images, what speaks for a class, folders to share."""

from uibe.library.detector import ConceptDetector
from uibe.library.labels import Label, labels_of
from uibe.library.loading import load
from uibe.library.results import Detection, Explanation, Segmentation, TopImage

__all__ = [
    "ConceptDetector",
    "Detection",
    "Explanation",
    "Label",
    "Segmentation",
    "TopImage",
    "labels_of",
    "load",
]
