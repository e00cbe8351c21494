"""Several bases on the same images: the same thresholds' rules for all, firing rates, paired intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import Detectors
from uibe.functional.intervals import (
    Counts,
    Interval,
    ScoreSamples,
    difference_intervals,
    interval,
    score_samples,
)
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.functional.tally import Union
from uibe.metrics.dissection import Dissection, dissect_replicates, sweep_thresholds
from uibe.metrics.tallies import LabelledFeatures

__all__ = [
    "SHARES",
    "Basis",
    "Comparison",
    "Readings",
    "Scored",
    "area_over_firing",
    "at_firing_rate",
    "averaged",
    "compare",
    "differences",
    "gain_by_cause",
    "null_cut",
    "readings",
]

SHARES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the train pixels that exceed a quantile threshold; NetDissect's is 0.005."""


class Basis(NamedTuple):
    """A basis to compare.

    Attributes:
        directions: `(I, D)` in raw feature space.
        thresholds: `(I,)` its own, learned by UIBE's objective or with labels, or None.
        num_pixels: pixels that it was fitted on, where that is known.
    """

    directions: Tensor
    thresholds: Tensor | None = None
    num_pixels: int | None = None


class Scored(NamedTuple):
    """A basis under one rule for its thresholds.

    Attributes:
        share: of the train pixels above each threshold, or None for the basis's own thresholds.
        dissection: labels and scores.
        iou: `(1 + B, I)` float64, of each detector for its label in every replicate; row 0 is the data.
    """

    share: float | None
    dissection: Dissection
    iou: Tensor

    def samples(self, cut: float = INTERPRETABLE_IOU) -> ScoreSamples:
        """S1, S2 and counts of every replicate."""
        return score_samples(self.iou, self.dissection.labels, cut)

    @property
    def most(self) -> Counts:
        """The most that its counts can be."""
        return self.dissection.most

    @property
    def firing_rate(self) -> float:
        """Mean over the detectors of the share of train pixels at which they fire."""
        return float(self.dissection.firing_rate.mean())


Comparison = dict[str, list[Scored]]
"""By basis: each share in rising order, then the basis's own thresholds if it has some."""


def compare(
    bases: Mapping[str, Basis],
    data: LabelledFeatures,
    shares: Sequence[float] = SHARES,
    replicates: int = 200,
    seed: int = 0,
    union: Union = "annotated",
) -> Comparison:
    """Score bases at every share and under their own thresholds, in one pass over each split's labels.

    Args:
        bases: by name.
        data: features and labels.
        shares: of the train pixels that exceed a quantile threshold.
        replicates: B, of the bootstrap over validation images.
        seed: of the bootstrap; the replicates of all bases draw the same images.
        union: rule for a detector's area.
    """
    sets: dict[tuple[str, float | None], Detectors] = {}
    for name, basis in bases.items():
        thresholds = sweep_thresholds(data, basis.directions, sorted(shares))
        sets.update(
            {
                (name, share): Detectors(basis.directions, each)
                for share, each in zip(sorted(shares), thresholds, strict=True)
            }
        )
        if basis.thresholds is not None:
            sets[name, None] = Detectors(basis.directions, basis.thresholds)
    keys = {f"{name} {share}": (name, share) for name, share in sets}
    results, iou = dissect_replicates(
        {key: sets[pair] for key, pair in keys.items()}, data, replicates, seed, union
    )
    scored: Comparison = {name: [] for name in bases}
    for key, (name, share) in keys.items():
        scored[name].append(Scored(share, results[key], iou[key]))
    return scored


def area_over_firing(scored: Sequence[Scored]) -> ScoreSamples:
    """Mean of each score over the logarithm of the firing rate, from the lowest share to the highest.

    `integral of S(r) d log r / integral of d log r` by trapezoids: at equal firing rates for every basis, so
    that none gains by firing more. With one share it is the score itself.

    Args:
        scored: of one basis; own thresholds are left out.

    Raises:
        ValueError: if there is no share.
    """
    swept = [each for each in scored if each.share is not None]
    if not swept:
        raise ValueError("expected scores at one share of firing pixels or more")
    rates = torch.tensor([each.share for each in swept], dtype=torch.float64).log()
    samples = [torch.stack(values) for values in zip(*(each.samples() for each in swept), strict=True)]
    if len(swept) == 1:
        return ScoreSamples(*(values[0] for values in samples))
    return ScoreSamples(
        *(torch.trapezoid(values, rates, dim=0) / (rates[-1] - rates[0]) for values in samples)
    )


def at_firing_rate(scored: Sequence[Scored], rate: float) -> ScoreSamples:
    """Scores interpolated, over the logarithm of the firing rate, to a rate; the ends hold beyond the sweep.

    Args:
        scored: of one basis; own thresholds are left out.
        rate: share of pixels at which a detector fires, on average.
    """
    swept = [each for each in scored if each.share is not None]
    rates = torch.tensor([each.share for each in swept], dtype=torch.float64).log()
    place = torch.tensor(max(rate, 1e-12), dtype=torch.float64).log().clamp(rates[0], rates[-1])
    upper = int(torch.searchsorted(rates, place).clamp(1, max(len(rates) - 1, 1)))
    if len(swept) == 1:
        return swept[0].samples()
    weight = (place - rates[upper - 1]) / (rates[upper] - rates[upper - 1])
    below, above = swept[upper - 1].samples(), swept[upper].samples()
    return ScoreSamples(*(torch.lerp(low, high, weight) for low, high in zip(below, above, strict=True)))


def null_cut(random: Sequence[Sequence[Scored]], share: float | None, level: float = 0.95) -> float:
    """The IoU that a share `level` of a random rotation's detectors stay below: what chance reaches here.

    Args:
        random: scores of several random rotations.
        share: at which thresholds.
        level: quantile over all their detectors.

    Raises:
        ValueError: if the rotations were not scored at that share.
    """
    values = [each.iou[0] for scored in random for each in scored if each.share == share]
    if not values:
        raise ValueError(f"expected random rotations scored at a share of {share}")
    return float(torch.quantile(torch.cat(values), level))


Readings = dict[str, ScoreSamples]
"""Scores of a basis by reading: `area` over firing rates, a share as `0.005`, and `own` thresholds."""


def readings(scored: Sequence[Scored]) -> Readings:
    """All readings of one basis, the headline first."""
    named = {"own" if each.share is None else f"{each.share:g}": each.samples() for each in scored}
    return {"area": area_over_firing(scored), **named}


def averaged(several: Sequence[Readings]) -> Readings:
    """Mean of the scores of several bases of a kind, replicate by replicate, as of random rotations."""
    return {
        name: ScoreSamples(
            *(torch.stack(values).mean(0) for values in zip(*(each[name] for each in several), strict=True))
        )
        for name in several[0]
    }


def differences(
    one: Readings, other: Readings, most: tuple[Counts, Counts], level: float = 0.95
) -> dict[str, dict[str, Interval]]:
    """Paired differences of two bases, `one - other`, by reading and score, where both have the reading.

    Args:
        one: of a basis.
        other: of another one, from the same replicates.
        most: that the counts of each can be.
        level: share of the replicates inside the interval.
    """
    return {name: difference_intervals(one[name], other[name], most, level) for name in one if name in other}


def gain_by_cause(
    learned: Sequence[Scored], natural: Sequence[Scored], share: float = 0.005
) -> dict[str, dict[str, Interval]]:
    """How much of a gain over the natural basis at a share comes from directions, and from thresholds.

    The published protocol sets learned thresholds against the natural basis at a quantile. In between stands
    the natural basis at the learned one's firing rate `r`: `thresholds = natural(r) - natural(share)`,
    `directions = learned - natural(r)`, and `total` is their sum.

    Args:
        learned: of a basis with own thresholds.
        natural: of the natural basis, over several shares.
        share: the natural basis's in the published protocol.

    Raises:
        ValueError: if the learned basis has no thresholds of its own.
    """
    own = next((each for each in learned if each.share is None), None)
    if own is None:
        raise ValueError("expected a basis with thresholds of its own")
    start, between, end = (
        at_firing_rate(natural, share),
        at_firing_rate(natural, own.firing_rate),
        own.samples(),
    )
    parts = {"thresholds": (between, start), "directions": (end, between), "total": (end, start)}
    return {
        name: {score: interval(getattr(high, score) - getattr(low, score)) for score in ("S1", "S2")}
        for name, (high, low) in parts.items()
    }
