"""Names of bases and thresholds in words that a newcomer understands, each with a line that explains it."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["BASES", "WIDE", "Title", "basis_meaning", "is_wide", "set_title", "share_text"]

BASES: Mapping[str, str] = {
    "learned": "the basis of this checkpoint",
    "natural": "the layer's channels as they are",
    "random": "random rotations of the channels, averaged",
    "pca": "principal components",
    "ica": "independent components",
    "nmf": "non-negative matrix factors",
    "kmeans": "directions to cluster centres",
    "sae": "sparse autoencoder",
    "supervised": "one linear classifier for each concept, learned from masks",
}
"""What each basis of a comparison is, by the first word of its name."""

WIDE = 20
"""Times the quantile's share of the pixels that is far above it; half of all pixels is so anyway."""


class Title(NamedTuple):
    """A name for a row of a table, and what it means."""

    name: str
    meaning: str


def set_title(name: str, quantile: float, supervised: bool = False) -> Title:
    """What one of the sets of `uibe.metrics.protocol.detector_sets` is called on a page.

    Args:
        name: `learned`, `quantile` or `natural`.
        quantile: share of train pixels that exceed a quantile threshold.
        supervised: whether the checkpoint's basis was learned from masks.

    Example:
        >>> set_title("natural", 0.005).name
        'Channels as they are, each firing on 0.5%'
    """
    basis, share = ("Supervised" if supervised else "Learned") + " basis", share_text(quantile)
    rule = f"thresholds are set so that each fires on {share} of the train pixels, as in Network Dissection"
    found = {
        "learned": Title(f"{basis}, own thresholds", "directions and thresholds as training left them"),
        "quantile": Title(f"{basis}, each firing on {share}", f"the same directions; {rule}"),
        "natural": Title(
            f"Channels as they are, each firing on {share}",
            "the natural basis, to compare with: a detector for each channel, thresholds by the same rule",
        ),
    }
    return found.get(name, Title(name, ""))


def basis_meaning(name: str) -> str:
    """What a basis of a comparison is, or nothing where only its user knows.

    Example:
        >>> basis_meaning("random (mean of 5)")
        'random rotations of the channels, averaged'
    """
    return BASES.get(name.split(" ")[0], "")


def is_wide(firing_rate: float, quantile: float, iou: float) -> bool:
    """Whether a detector fires far above the quantile, and its concept is not the reason.

    A detector of IoU 0.5 or more fires on at most twice its concept's pixels: large concepts are no fault.

    Example:
        >>> is_wide(0.39, quantile=0.005, iou=0.2), is_wide(0.39, quantile=0.005, iou=0.7)
        (True, False)
        >>> is_wide(0.09, quantile=0.005, iou=0.2), is_wide(0.3, quantile=0.2, iou=0.2)
        (False, False)
    """
    return iou < 0.5 and firing_rate > min(WIDE * quantile, 0.5)


def share_text(share: float) -> str:
    """A share in per cent, with two digits that mean something.

    Example:
        >>> share_text(0.005), share_text(0.0213), share_text(0.391)
        ('0.5%', '2.1%', '39%')
    """
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"
