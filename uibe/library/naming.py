"""What directions are called, and which one a name means."""

import difflib
import re
from collections.abc import Sequence
from functools import partial
from operator import index
from typing import SupportsIndex

from uibe.errors import ConfigError
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.labels import Label

__all__ = ["HOW_TO_LABEL", "UNCLEAR", "concepts_of", "direction_number", "suggestion"]

HOW_TO_LABEL = (
    "`evaluate.py export --ckpt_path CKPT --out DIR --data.root BRODEN` writes a folder with labels, "
    "which uibe.load(DIR) reads"
)
"""Labels are not in a checkpoint."""

UNCLEAR = "unclear"
"""The name of all directions whose labels hardly overlap with them."""


def concepts_of(labels: Sequence[Label] | None, names: Sequence[str], number: int) -> tuple[str, ...]:
    """The concept of each direction, by which contributions are summed.

    Args:
        labels: of the I detectors; those of an IoU of 0.04 or less name no concept and are all `UNCLEAR`.
        names: that supervised detectors have without labels; none otherwise.
        number: I.

    Example:
        >>> concepts_of([Label("sky", "object", 0.5, 0.4, 0.6), Label("car", "object", 0.01, 0, 0.1)], (), 2)
        ('sky (object)', 'unclear')
        >>> concepts_of(None, (), 2)
        ('direction 0', 'direction 1')
    """
    if labels is not None:
        return tuple(str(label) if label.iou > INTERPRETABLE_IOU else UNCLEAR for label in labels)
    return tuple(names) or tuple(f"direction {place}" for place in range(number))


def direction_number(
    wanted: SupportsIndex | str, labels: Sequence[Label] | None, names: Sequence[str], number: int
) -> int:
    """The direction that is meant, by number or by concept; of several that one names, the highest IoU.

    Args:
        wanted: a number, a concept such as `road`, or `road (object)` where two categories have one; upper
            or lower case.
        labels: of the I detectors, if known.
        names: that supervised detectors have without labels; none otherwise.
        number: I.

    Raises:
        ConfigError: if there is no such direction or concept, or the concept is one of several categories.

    Example:
        >>> labels = [Label("road", "object", 0.1, 0.0, 0.2), Label("road", "object", 0.5, 0.4, 0.6)]
        >>> direction_number("Road", labels, (), 2), direction_number(0, labels, (), 2)
        (1, 0)
    """
    if isinstance(wanted, str):
        return _by_concept(wanted, labels, names, number)
    try:
        found = index(wanted)
    except TypeError:
        found = -1
    if not 0 <= found < number:
        raise ConfigError(f"direction: expected a number from 0 to {number - 1}, got {wanted!r}")
    return found


def suggestion(wanted: str, names: Sequence[str], otherwise: str) -> str:
    """The end of a message on a name that is not there: similar ones, or what to do.

    Names that end in the word come first, then others that hold it, then close spellings.

    Example:
        >>> suggestion("rod", ["road", "sky"], "give a concept")
        "; did you mean 'road'?"
        >>> suggestion("zzz", ["road", "sky"], "give a concept")
        '; give a concept'
        >>> suggestion("car", ["cat", "car wheel", "streetcar", "sports car"], "give a class")
        "; did you mean 'sports car', 'streetcar', 'car wheel', 'cat'?"
    """
    folded = {name.casefold(): name for name in names}
    parts = sorted(
        (name for name in names if wanted.casefold() in name.casefold()), key=partial(_rank, wanted)
    )
    close = difflib.get_close_matches(wanted.casefold(), list(folded), n=3, cutoff=0.5)
    found = list(dict.fromkeys([*parts, *(folded[name] for name in close)]))[:4]
    return f"; did you mean {', '.join(map(repr, found))}?" if found else f"; {otherwise}"


def _rank(wanted: str, name: str) -> int:
    """How near a name that holds the wanted text is, the lowest first: a car wheel is no car."""
    word, text = re.escape(wanted.casefold()), name.casefold()
    patterns = (rf"\b{word}$", rf"{word}$", rf"\b{word}\b")
    return next((n for n, pattern in enumerate(patterns) if re.search(pattern, text)), len(patterns))


def _by_concept(wanted: str, labels: Sequence[Label] | None, names: Sequence[str], number: int) -> int:
    concepts = names if labels is None else [label.concept for label in labels]
    if not concepts:
        raise ConfigError(
            f"direction: {wanted!r}: these detectors have no labels; give a number from 0 to {number - 1}, "
            f"or label them: {HOW_TO_LABEL}"
        )
    whole = names if labels is None else [str(label) for label in labels]
    for known in (whole, concepts):
        found = [place for place, name in enumerate(known) if name.casefold() == wanted.casefold()]
        meanings = sorted({whole[place] for place in found})
        if len(meanings) > 1:
            raise ConfigError(
                f"direction: {wanted!r} is ambiguous; give {' or '.join(map(repr, meanings))}, or a number"
            )
        if found:
            return found[0] if labels is None else max(found, key=lambda place: labels[place].iou)
    known = sorted(set(concepts))
    what = "give a concept that `summary()` lists, or a number"
    raise ConfigError(f"direction: no detector is labelled {wanted!r}{suggestion(wanted, known, what)}")
