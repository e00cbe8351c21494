"""Bootstrap over images: scores of every replicate, and the intervals that follow.

A replicate draws images with replacement. With a Poisson(1) weight for each image instead, it becomes a sum
that can be streamed, and the number of images drawn varies a little (Chamandy et al. 2012, "Estimating
uncertainty for massive data streams"). Two bases that share the weights can be compared pair by pair.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.scores import INTERPRETABLE_IOU

__all__ = [
    "Counts",
    "Interval",
    "ScoreSamples",
    "difference_intervals",
    "interval",
    "most_counts",
    "poisson_weights",
    "replicate_iou",
    "score_intervals",
    "score_samples",
]


class Interval(NamedTuple):
    """An estimate, its 95% interval, and the estimate without the bias that resampling shows.

    Attributes:
        value: the estimate `t`.
        low: lower end of the interval.
        high: upper end.
        corrected: `2 t` less the mean of the replicates; `t` itself can lie outside of the interval.
    """

    value: float
    low: float
    high: float
    corrected: float


class ScoreSamples(NamedTuple):
    """Scores of the data itself, entry 0, and of each of B replicates: `(1 + B,)` float64.

    Attributes:
        S1: sum of the detectors' IoU.
        S2: sum over labels of the best IoU.
        interpretable: detectors above the IoU cut.
        unique: distinct labels among those.
    """

    S1: Tensor
    S2: Tensor
    interpretable: Tensor
    unique: Tensor


class Counts(NamedTuple):
    """Bounds of the counts.

    Attributes:
        interpretable: of the detectors above the IoU cut.
        unique: of the distinct labels among those.
    """

    interpretable: float
    unique: float


_ZERO = Counts(0, 0)


def poisson_weights(num_images: int, replicates: int, seed: int) -> Tensor:
    """How often each replicate draws each image, `(1 + B, N)` uint8; row 0 is the data itself, all ones.

    Args:
        num_images: N.
        replicates: B.
        seed: the same seed gives the same draws, so that bases can be compared pair by pair.

    Example:
        >>> weights = poisson_weights(1000, 200, seed=0)
        >>> weights.shape, bool((weights[0] == 1).all()), abs(weights[1:].double().mean().item() - 1) < 0.01
        (torch.Size([201, 1000]), True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.poisson(torch.ones(num_images, replicates), generator=generator).T
    return torch.cat([torch.ones(1, num_images), drawn]).to(torch.uint8)


def replicate_iou(intersections: Tensor, activated: Tensor, labelled: Tensor, concepts: Tensor) -> Tensor:
    """IoU of labelled detectors in every replicate, `(1 + B, I)` float64; 0 where the union is empty.

    Args:
        intersections: `(1 + B, I)` int64.
        activated: `(1 + B, I)` int64.
        labelled: `(1 + B, C)` int64.
        concepts: `(I,)` int64, each detector's label.

    Example:
        >>> replicate_iou(*torch.tensor([[[1]], [[2]], [[2]]]), torch.tensor([0])).tolist()
        [[0.3333333333333333]]
    """
    union = activated + labelled[:, concepts] - intersections
    return torch.where(union > 0, intersections.double() / union.clamp(min=1), 0.0)


def score_samples(iou: Tensor, concepts: Tensor, cut: float = INTERPRETABLE_IOU) -> ScoreSamples:
    """S1, S2, interpretable and unique detectors of every replicate.

    Args:
        iou: `(1 + B, I)` float64.
        concepts: `(I,)` int64, each detector's label, the same in all replicates.
        cut: a detector is interpretable strictly above it.

    Example:
        >>> iou = torch.tensor([[0.5, 0.25, 0.04]], dtype=torch.float64)
        >>> [values.tolist() for values in score_samples(iou, torch.tensor([3, 3, 0]))]
        [[0.79], [0.54], [2.0], [1.0]]
    """
    num_concepts = int(concepts.max()) + 1 if len(concepts) else 0
    best = iou.new_zeros(len(iou), num_concepts)
    best.scatter_reduce_(1, concepts.expand(iou.shape), iou, "amax")
    return ScoreSamples(
        iou.sum(1), best.sum(1), (iou > cut).sum(1).to(iou.dtype), (best > cut).sum(1).to(iou.dtype)
    )


def interval(
    samples: Tensor, level: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval:
    """The estimate `t` and its basic bootstrap interval, `[2 t - q_high, 2 t - q_low]`.

    Davison and Hinkley 1997, section 5.2. S2 takes the best of a label's detectors, and the best of many is
    overestimated: in the data, and once more in every replicate. Percentiles of the replicates would lie
    above the estimate, and in a simulation covered the truth in half of the cases instead of 95%. Mirrored
    at the estimate they take the bias off, so that an estimate can lie above its own interval. The corrected
    estimate has the bias taken off as well (Davison and Hinkley, section 2.2.2).

    Args:
        samples: `(1 + B,)`, the estimate first.
        level: share of replicates inside, in (0, 1).
        bounds: least and greatest value that `t` can have. Mirroring knows of none: what lies beyond is moved
            to the bound.

    Raises:
        ValueError: if there is no replicate or the level is out of range.

    Example:
        >>> found = interval(torch.cat([torch.tensor([40.0]), torch.arange(101.0)]))
        >>> [round(each, 6) for each in found]
        [40.0, -17.5, 77.5, 30.0]
        >>> interval(torch.tensor([311.0, 299.0, 299.0]), bounds=(0, 320))
        Interval(value=311.0, low=320.0, high=320.0, corrected=320.0)
    """
    if not 0 < level < 1 or len(samples) < 2:
        raise ValueError("expected at least one replicate and a level between 0 and 1")
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    replicates = samples[1:].double().cpu()
    low, high = torch.quantile(replicates, tails).tolist()
    value = float(samples[0])
    mirrored = (2 * value - each for each in (high, low, float(replicates.mean())))
    return Interval(value, *(float(min(max(each, bounds[0]), bounds[1])) for each in mirrored))


def most_counts(num_detectors: int, num_concepts: int) -> Counts:
    """The most that the counts of a set of detectors can be.

    Args:
        num_detectors: I.
        num_concepts: C, that a label is chosen from.

    Example:
        >>> most_counts(320, 34), most_counts(12, 34)
        (Counts(interpretable=320, unique=34), Counts(interpretable=12, unique=12))
    """
    return Counts(num_detectors, min(num_detectors, num_concepts))


def score_intervals(
    samples: ScoreSamples, most: Counts, least: Counts = _ZERO, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of all scores, by name; counts stay within their bounds.

    Args:
        samples: scores of every replicate.
        most: upper bounds of the counts.
        least: lower bounds.
        level: share of replicates inside, in (0, 1).

    Example:
        >>> one = torch.tensor([3.0, 2.0])
        >>> found = score_intervals(ScoreSamples(one, one, one, one), most_counts(3, 5))
        >>> found["S1"].corrected, found["interpretable"].corrected
        (4.0, 3.0)
    """
    bounds = {name: (low, high) for name, low, high in zip(Counts._fields, least, most, strict=True)}
    return {
        name: interval(values, level, bounds.get(name, (-math.inf, math.inf)))
        for name, values in samples._asdict().items()
    }


def difference_intervals(
    one: ScoreSamples, other: ScoreSamples, most: tuple[Counts, Counts], level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of the paired differences of two sets of detectors, `one - other`, by score.

    Args:
        one: scores of every replicate.
        other: of another set, in the same replicates.
        most: upper bounds of the counts of each; a difference has the other's, negated, as its lower ones.
        level: share of replicates inside, in (0, 1).

    Example:
        >>> one, other = (ScoreSamples(*[torch.tensor(each)] * 4) for each in ([3.0, 2.0], [1.0, 3.0]))
        >>> found = difference_intervals(one, other, (most_counts(3, 5), most_counts(4, 5)))
        >>> found["S1"].corrected, found["interpretable"].corrected
        (5.0, 3.0)
    """
    gaps = ScoreSamples(*(left - right for left, right in zip(one, other, strict=True)))
    return score_intervals(gaps, most[0], Counts(-most[1].interpretable, -most[1].unique), level)
