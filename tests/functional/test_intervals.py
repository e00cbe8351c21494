"""Bootstrap replicates: weights, scores by the formulas of one set, and intervals that cover."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uibe.functional.intervals import (
    Counts,
    ScoreSamples,
    difference_intervals,
    interval,
    most_counts,
    poisson_weights,
    replicate_iou,
    score_intervals,
    score_samples,
)
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
    one = nothing + 1
    assert replicate_iou(one, one, one, torch.tensor([0])).tolist() == [[1.0]]


def test_one_replicate_is_enough() -> None:
    assert interval(torch.tensor([4.0, 5.0])) == (4.0, 3.0, 3.0, 3.0)


def test_no_detectors_score_nothing() -> None:
    samples = score_samples(torch.zeros(3, 0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
    assert [values.tolist() for values in samples] == [[0.0] * 3] * 4


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_levels_out_of_range_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match=r"^expected at least one replicate and a level between 0 and 1$"):
        interval(torch.ones(5), level)


def test_an_estimate_without_replicates_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one replicate"):
        interval(torch.ones(1))


def test_counts_stay_within_what_there_is() -> None:
    # of 320 detectors 311 count, of the replicates' 299 on average: 2 * 311 - 299 = 323 are too many
    drawn = torch.tensor([311.0, 299.0, 299.0])
    samples = ScoreSamples(drawn, drawn, drawn, torch.tensor([1.0, 30.0, 30.0]))
    found = score_intervals(samples, most_counts(320, 34))
    assert found["S1"] == (311.0, 323.0, 323.0, 323.0)
    assert found["interpretable"] == (311.0, 320.0, 320.0, 320.0)
    assert found["unique"] == (1.0, 0.0, 0.0, 0.0)
    gaps = score_intervals(samples, Counts(315, 34), Counts(-2, -2))
    assert gaps["interpretable"] == (311.0, 315.0, 315.0, 315.0)
    assert gaps["unique"] == (1.0, -2.0, -2.0, -2.0)


def test_differences_are_paired_and_their_counts_bounded_on_both_sides() -> None:
    one = ScoreSamples(*torch.tensor([[5.0, 4.0, 6.0, 8.0], [5.0] * 4, [0.0, 9, 9, 9], [0.0, 9, 9, 9]]))
    other = ScoreSamples(*torch.tensor([[1.0, 1.0, 2.0, 5.0], [4.0] * 4, [1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
    found = difference_intervals(one, other, (Counts(10, 7), Counts(6, 3)), level=0.5)
    assert found["S1"] == interval(torch.tensor([4.0, 3.0, 4.0, 3.0]), 0.5)
    assert found["S2"] == (1.0, 1.0, 1.0, 1.0)
    assert found["interpretable"] == (-1.0, -6.0, -6.0, -6.0)  # 2 * -1 - 9 lies below
    assert found["unique"] == (-1.0, -3.0, -3.0, -3.0)


@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=30),
    st.integers(0, 5),
    st.integers(15, 20),
)
def test_bounds_hold_and_change_nothing_inside(drawn: list[int], low: int, high: int) -> None:
    samples = torch.tensor(drawn, dtype=torch.float64).clamp(low, high)
    free, found = interval(samples), interval(samples, bounds=(low, high))
    assert all(low <= each <= high for each in found)
    assert found.low <= found.high
    for inside, each in zip(free, found, strict=True):
        assert each == (inside if low <= inside <= high else high if inside > high else low)


DETECTORS, CONCEPTS = 24, 6
LABELS = torch.arange(DETECTORS) % CONCEPTS


def simulated(rng: np.random.Generator, images: int) -> list[torch.Tensor]:
    """Counts of many detectors of alike quality in images whose pixels depend on each other."""
    quality = np.linspace(0.3, 0.4, DETECTORS)
    labelled = np.round(400 * rng.beta(0.5, 3, (images, CONCEPTS)) * (rng.random((images, CONCEPTS)) < 0.5))
    hit = rng.beta(4 * quality, 4 * (1 - quality), (images, DETECTORS))
    inter = np.round(labelled[:, LABELS] * hit)
    activated = inter + np.round(60 * rng.beta(1, 3, (images, DETECTORS)))
    return [torch.from_numpy(each) for each in (inter, activated, labelled)]


def scores(counts: list[torch.Tensor]) -> list[torch.Tensor]:
    """S1, S2 and the difference of two detectors."""
    iou = replicate_iou(*(each.long() for each in counts), LABELS)
    samples = score_samples(iou, LABELS)
    return [samples.S1, samples.S2, iou[:, 0] - iou[:, 1]]


def test_intervals_cover_at_their_nominal_rate_and_the_correction_takes_bias_off() -> None:
    rng = np.random.default_rng(0)
    parts = [[each.sum(0, keepdim=True) for each in simulated(rng, 20_000)] for _ in range(20)]
    truth = [float(each) for each in scores([torch.stack(each).sum(0) for each in zip(*parts, strict=True)])]
    runs, covered, percentiles, errors = 300, np.zeros(3), np.zeros(3), np.zeros((300, 2))
    for run in range(runs):
        counts = simulated(rng, 250)
        weights = poisson_weights(250, 200, seed=run).double()
        for place, values in enumerate(scores([weights @ each for each in counts])):
            value, low, high, corrected = interval(values)
            if place == 1:
                errors[run] = value - truth[1], corrected - truth[1]
            covered[place] += low <= truth[place] <= high
            percentiles[place] += 2 * value - high <= truth[place] <= 2 * value - low
    # three standard deviations of a share of 300 at 0.95 are 0.038
    assert (np.abs(covered / runs - 0.95) < 0.04).all(), covered / runs
    assert percentiles[1] / runs < 0.8  # why they are not taken
    bias, left = errors.mean(0)
    assert bias > 0
    assert abs(left) < 0.3 * bias
