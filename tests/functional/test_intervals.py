"""Bootstrap replicates: weights, scores by the formulas of one set, and intervals that cover."""

import numpy as np
import pytest
import torch

from uibe.functional.intervals import interval, poisson_weights, replicate_iou, score_samples
from uibe.functional.scores import dissection_scores


def test_weights_are_poisson_and_start_with_the_data() -> None:
    weights = poisson_weights(2000, 300, seed=1)
    assert weights.dtype == torch.uint8
    assert bool((weights[0] == 1).all())
    drawn = weights[1:].double()
    shares = [float((drawn == count).double().mean()) for count in range(4)]
    assert shares == pytest.approx([np.exp(-1), np.exp(-1), np.exp(-1) / 2, np.exp(-1) / 6], abs=0.003)
    # neither images nor replicates depend on each other
    assert abs(float(torch.corrcoef(drawn[:2])[0, 1])) < 0.1
    assert abs(float(torch.corrcoef(drawn[:, :2].T)[0, 1])) < 0.25


def test_weights_follow_the_seed_alone() -> None:
    assert torch.equal(poisson_weights(50, 20, seed=3), poisson_weights(50, 20, seed=3))
    assert not torch.equal(poisson_weights(50, 20, seed=3), poisson_weights(50, 20, seed=4))


def test_scores_of_each_replicate_are_those_of_one_set() -> None:
    generator = torch.Generator().manual_seed(0)
    iou = torch.rand(7, 40, generator=generator, dtype=torch.float64) / 8
    labels = torch.randint(0, 9, (40,), generator=generator)
    samples = score_samples(iou, labels, cut=0.1)
    for replicate, row in enumerate(iou):
        expected = dissection_scores(row, labels, 0.1)
        assert [float(values[replicate]) for values in samples] == pytest.approx(list(expected))


def test_iou_of_an_empty_union_is_zero() -> None:
    nothing = torch.zeros(1, 1, dtype=torch.int64)
    assert replicate_iou(nothing, nothing, nothing, torch.tensor([0])).tolist() == [[0.0]]


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_levels_out_of_range_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level between 0 and 1"):
        interval(torch.ones(5), level)


def test_an_estimate_without_replicates_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one replicate"):
        interval(torch.ones(1))


def simulated(rng: np.random.Generator, images: int, truth: bool = False) -> tuple[torch.Tensor, ...]:
    """Counts of one detector and another one in images whose pixels depend on each other."""
    share = rng.beta(1.5, 3.0, images)  # of the concept in an image
    hit, other = rng.beta(4, 3, images), rng.beta(3, 3, images)
    if truth:
        share, hit, other = share.astype(np.float64), hit, other
    labelled = np.round(400 * share)
    first, second = np.round(labelled * hit), np.round(labelled * other)
    fired = np.round(first + 200 * (1 - share) * rng.beta(1, 4, images))
    fired_second = np.round(second + 200 * (1 - share) * rng.beta(1, 4, images))
    counts = (np.stack([first, second], 1), np.stack([fired, fired_second], 1), labelled[:, None])
    return tuple(torch.from_numpy(each) for each in counts)


def test_intervals_cover_at_their_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    concepts = torch.tensor([0, 0])
    whole = [each.sum(0, keepdim=True).long() for each in simulated(rng, 400_000)]
    first, second = replicate_iou(*whole, concepts)[0].tolist()
    runs, covered = 400, np.zeros(3)
    for run in range(runs):
        counts = simulated(rng, 150)
        weights = poisson_weights(150, 200, seed=run).double()
        iou = replicate_iou(*((weights @ each).long() for each in counts), concepts)
        truths = (first + second, max(first, second), first - second)
        samples = score_samples(iou, concepts)
        for place, values in enumerate((samples.S1, samples.S2, iou[:, 0] - iou[:, 1])):
            found = interval(values)
            covered[place] += found.low <= truths[place] <= found.high
    # three standard deviations of a binomial with p = 0.95 are 0.033
    assert (np.abs(covered / runs - 0.95) < 0.04).all(), covered / runs
