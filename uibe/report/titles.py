"""Names of bases and thresholds, one vocabulary for console, report and comparison, with what they mean."""

from collections.abc import Mapping
from typing import NamedTuple

from uibe.metrics.protocol import AS_OFTEN

__all__ = [
    "BASES",
    "FITS",
    "OWN",
    "WIDE",
    "Title",
    "basis_meaning",
    "falls_short",
    "is_wide",
    "set_title",
    "share_text",
]

OWN = "own thresholds"
"""Thresholds that were learned, in training or for frozen directions; detectors fire at different rates."""

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

WIDE = 5
"""Times the detectors' mean firing rate that is far above it."""

FITS = 0.5
"""IoU at which a detector may fire as much as it likes: on at most twice its concept's pixels."""


class Title(NamedTuple):
    """A name for a row of a table, and what it means."""

    name: str
    meaning: str


def set_title(
    name: str,
    quantile: float | None,
    supervised: bool = False,
    own_rate: float | None = None,
    rate: float | None = None,
) -> Title:
    """What one of the sets of `uibe.metrics.protocol.detector_sets` is called, in tables and on a page.

    Args:
        name: `learned`, `quantile`, `natural` or `natural_as_often`.
        quantile: share of train pixels that exceed a quantile threshold, if it is known.
        supervised: whether the checkpoint's basis was learned from masks.
        own_rate: mean firing rate of the basis at its own thresholds, if it is known.
        rate: mean firing rate of this set; the name has it where it is not the share that it should be.

    Example:
        >>> set_title("natural", 0.005).name, set_title("learned", 0.005).name
        ('natural at 0.5%', 'learned, own thresholds')
        >>> set_title("natural", 0.005, rate=0.0042).name
        'natural at 0.5%, fires on 0.42%'
    """
    basis = "supervised" if supervised else "learned"
    at, often = (
        " at a quantile" if rate is None else f" at {share_text(rate)}" for rate in (quantile, own_rate)
    )
    at_most = f"at most {at.removeprefix(' at ')}" if quantile is not None else "at most a given share"
    rule = f"each detector fires on {at_most} of the train pixels, as in Network Dissection"
    real = {
        key: f", fires on {share_text(rate)}"
        for key, share in {"quantile": quantile, "natural": quantile, AS_OFTEN: own_rate}.items()
        if rate is not None and share is not None and falls_short(rate, share)
    }.get(name, "")
    channels = "the layer's channels as they are, a detector for each"
    found = {
        "learned": Title(f"{basis}, {OWN}", "directions and thresholds as training left them"),
        "quantile": Title(f"{basis}{at}{real}", f"the same directions; {rule}"),
        "natural": Title(f"natural{at}{real}", f"{channels}; {rule}: to compare with {basis}{at}"),
        AS_OFTEN: Title(
            f"natural{often}{real}",
            f"the same channels, each firing at most as often as {basis}, {OWN}, does on average: to compare "
            "with that",
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


def is_wide(firing_rate: float, mean_rate: float, iou: float) -> bool:
    """Whether a detector fires far more than the others do, and its concept is not the reason.

    Far is 5 times the mean, or halfway between the mean and all pixels where that is less. A detector of IoU
    0.5 or more fires on at most twice its concept's pixels: large concepts are no fault.

    Args:
        firing_rate: share of the pixels that the detector fires on, 0 to 1.
        mean_rate: the mean of that share over the detectors.
        iou: of the detector with its label.

    Example:
        >>> is_wide(0.39, mean_rate=0.064, iou=0.2), is_wide(0.39, mean_rate=0.064, iou=0.7)
        (True, False)
        >>> is_wide(0.16, mean_rate=0.064, iou=0.2), is_wide(0.7, mean_rate=0.3, iou=0.2)
        (False, True)
    """
    return iou < FITS and firing_rate > min(WIDE * mean_rate, (1 + mean_rate) / 2)


def falls_short(rate: float, share: float) -> bool:
    """Whether detectors at a quantile fire on other than that share, by more than 5% of it.

    Not all pixels above a quantile are above the threshold where values tie there, as ReLU's zeros do.

    Args:
        rate: the detectors' mean firing rate.
        share: of the train pixels that the quantile leaves above it.

    Example:
        >>> falls_short(0.0042, 0.005), falls_short(0.00499, 0.005)
        (True, False)
    """
    return abs(rate - share) > 0.05 * share


def share_text(share: float) -> str:
    """A share in per cent, with two digits that mean something.

    Example:
        >>> share_text(0.005), share_text(0.0213), share_text(0.391)
        ('0.5%', '2.1%', '39%')
    """
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"
