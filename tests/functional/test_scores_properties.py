"""Scores, their intervals and their resampling: names, order and scale make no difference."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uibe.functional.intervals import interval, poisson_weights, score_samples
from uibe.functional.scores import dissection_scores, s1, s2, score_curves

Labelled = tuple[torch.Tensor, torch.Tensor]

few = settings(max_examples=25)
NUM_CONCEPTS = 6
exact = st.integers(0, 64).map(lambda share: share / 64)  # whose sums are exact in any order
detectors = st.lists(st.tuples(exact, st.integers(0, NUM_CONCEPTS - 1)), min_size=1, max_size=12)
labelled = detectors.map(
    lambda rows: (torch.tensor([r[0] for r in rows]).double(), torch.tensor([r[1] for r in rows]))
)


@few
@given(case=labelled, numbers=st.permutations(range(NUM_CONCEPTS)), order=st.randoms(use_true_random=False))
def test_names_of_labels_and_order_of_detectors_do_not_matter(
    case: Labelled, numbers: list[int], order: Random
) -> None:
    iou, labels = case
    rows = order.sample(range(len(iou)), len(iou))
    moved = dissection_scores(iou[rows], torch.tensor(numbers)[labels][rows])
    assert moved == dissection_scores(iou, labels)
    cuts = torch.arange(33) / 32
    for one, other in zip(
        score_curves(iou[rows], torch.tensor(numbers)[labels][rows], cuts),
        score_curves(iou, labels, cuts),
        strict=True,
    ):
        assert torch.equal(one, other)


@few
@given(case=labelled, label=st.integers(0, 3 * NUM_CONCEPTS))
def test_a_detector_of_iou_zero_adds_nothing(case: Labelled, label: int) -> None:
    iou, labels = case
    more = torch.cat([iou, torch.zeros(1).double()]), torch.cat([labels, torch.tensor([label])])
    assert dissection_scores(*more) == dissection_scores(iou, labels)


@few
@given(case=labelled)
def test_bounds_and_twins(case: Labelled) -> None:
    iou, labels = case
    twice = iou.repeat(2), labels.repeat(2)
    assert s2(iou, labels) <= s1(iou) <= len(iou)
    assert s2(iou, labels) <= len(labels.unique())
    assert s1(twice[0]) == 2 * s1(iou)
    assert s2(*twice) == s2(iou, labels)
    apart = torch.arange(len(iou))
    assert s2(iou, apart) == s1(iou)  # where every detector has a label of its own


@few
@given(case=labelled, which=st.integers(0, 11), rise=exact)
def test_a_better_detector_never_lowers_a_score(case: Labelled, which: int, rise: float) -> None:
    iou, labels = case
    better = iou.clone()
    better[which % len(iou)] += rise
    before, after = dissection_scores(iou, labels), dissection_scores(better, labels)
    assert all(high >= low for high, low in zip(after, before, strict=True))


@few
@given(case=labelled, replicates=st.integers(1, 5))
def test_replicates_that_repeat_the_data_have_its_scores_and_an_interval_of_no_width(
    case: Labelled, replicates: int
) -> None:
    iou, labels = case
    samples = score_samples(iou.repeat(1 + replicates, 1), labels)
    for found, expected in zip(samples, dissection_scores(iou, labels), strict=True):
        assert found.tolist() == [expected] * (1 + replicates)
        assert interval(found)[:3] == pytest.approx((expected, expected, expected))


@few
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30),
    factor=st.sampled_from([0.25, 1.0, 8.0]),
    shift=st.floats(-100, 100),
    order=st.randoms(use_true_random=False),
)
def test_intervals_move_with_their_samples_and_narrow_with_their_level(
    values: list[float], factor: float, shift: float, order: Random
) -> None:
    samples = torch.tensor(values).double()
    wide, narrow = interval(samples, 0.95), interval(samples, 0.5)
    assert wide.low - 1e-6 <= narrow.low <= narrow.high <= wide.high + 1e-6
    mirrored = 2 * samples[0] - samples[1:]  # it contains most of the replicates, mirrored at the estimate
    assert float(mirrored.min()) - 1e-6 <= wide.low <= wide.high <= float(mirrored.max()) + 1e-6
    moved = interval(factor * samples + shift, 0.95)
    assert moved[:3] == pytest.approx([factor * each + shift for each in wide[:3]], rel=1e-9, abs=1e-6)
    shuffled = torch.tensor([values[0], *order.sample(values[1:], len(values) - 1)]).double()
    assert interval(shuffled, 0.95) == pytest.approx(wide, rel=1e-9, abs=1e-6)


def test_fewer_replicates_are_a_part_of_more_only_in_their_first_row() -> None:
    few_drawn, more = poisson_weights(7, 3, seed=0), poisson_weights(7, 9, seed=0)
    assert few_drawn[0].tolist() == more[0].tolist() == [1] * 7
    assert torch.equal(more, poisson_weights(7, 9, seed=0))
