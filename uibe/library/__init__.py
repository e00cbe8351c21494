"""Using a learned basis from Python: concepts in images, what speaks for a class, folders to share."""

from uibe.library.detector import ConceptDetector
from uibe.library.explanation import ConceptSum, Explanation
from uibe.library.labels import Label, labels_of
from uibe.library.loading import load
from uibe.library.results import Detection, Segmentation, TopImage

__all__ = [
    "ConceptDetector",
    "ConceptSum",
    "Detection",
    "Explanation",
    "Label",
    "Segmentation",
    "TopImage",
    "labels_of",
    "load",
]
