"""S1, S2 and what goes with them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import scores as reference
from uibe.functional.scores import (
    assign_labels,
    category_scores,
    dissection_scores,
    s1,
    s2,
    score_curves,
)

Labelled = tuple[list[float], list[int]]
labelled = st.lists(st.tuples(st.integers(0, 64), st.integers(0, 5)), min_size=1, max_size=12).map(
    lambda pairs: ([value / 64 for value, _ in pairs], [label for _, label in pairs])
)


@settings(deadline=None, max_examples=80)
@given(case=labelled)
def test_s1_and_s2_are_the_areas_under_the_curves(case: Labelled) -> None:
    iou, labels = torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])
    assert (s1(iou), s2(iou, labels)) == pytest.approx(reference.area(*case), abs=1e-12)


def test_by_hand() -> None:
    # detectors 0 and 1 share label 3: S1 = 1/2 + 1/4 + 1/8, S2 = max(1/2, 1/4) + 1/8
    case = ([0.5, 0.25, 0.125], [3, 3, 0])
    iou, labels = torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])
    assert (s1(iou), s2(iou, labels)) == reference.area(*case) == (0.875, 0.625)


@settings(deadline=None, max_examples=40)
@given(case=labelled)
def test_curves_count_what_reaches_each_cut(case: Labelled) -> None:
    cuts = [0.0, 1 / 64, 0.04, 0.25, 0.5, 1.0]
    iou, labels = torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])
    detectors, unique = score_curves(iou, labels, torch.tensor(cuts, dtype=torch.float64))
    assert detectors.tolist() == [reference.count_detectors(case[0], cut) for cut in cuts]
    assert unique.tolist() == [reference.count_labels(*case, cut) for cut in cuts]


def test_area_under_finely_sampled_curves_is_s1_and_s2() -> None:
    generator = torch.Generator().manual_seed(0)
    iou = torch.rand(40, generator=generator, dtype=torch.float64)
    labels = torch.randint(9, (40,), generator=generator)
    cuts = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000  # midpoints
    areas = [float(curve.double().mean()) for curve in score_curves(iou, labels, cuts)]
    np.testing.assert_allclose(areas, [s1(iou), s2(iou, labels)], atol=1e-3)


def test_interpretable_is_strictly_above_the_cut() -> None:
    iou = torch.tensor([0.04, 0.040001, 0.5], dtype=torch.float64)
    scores = dissection_scores(iou, torch.tensor([0, 1, 1]))
    assert (scores.interpretable, scores.unique) == (2, 1)
    assert dissection_scores(iou, torch.tensor([0, 1, 1]), cut=0.03).unique == 2


@settings(deadline=None, max_examples=40)
@given(case=labelled, owners=st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_categories_partition_all_scores(case: Labelled, owners: list[int]) -> None:
    iou, labels = torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])
    parts = category_scores(iou, labels, torch.tensor(owners), 4)
    whole = dissection_scores(iou, labels)
    assert np.sum(parts, axis=0) == pytest.approx(list(whole), abs=1e-9)
    assert parts[3] == (0.0, 0.0, 0, 0)  # no concept of category 3


@settings(deadline=None, max_examples=40)
@given(case=labelled, seed=st.integers(0, 1000))
def test_order_of_detectors_does_not_matter_and_s2_is_at_most_s1(case: Labelled, seed: int) -> None:
    iou, labels = torch.tensor(case[0], dtype=torch.float64), torch.tensor(case[1])
    order = torch.randperm(len(iou), generator=torch.Generator().manual_seed(seed))
    scores = dissection_scores(iou, labels)
    assert dissection_scores(iou[order], labels[order]) == pytest.approx(scores)
    assert scores.S2 <= scores.S1 + 1e-12 <= len(iou) + 1e-12


def test_labels_are_the_best_concept_and_the_first_of_a_tie() -> None:
    iou = torch.tensor([[0.1, 0.3, 0.3], [0.0, 0.0, 0.0], [0.0, 0.2, 0.5]])
    assert assign_labels(iou).tolist() == [1, 0, 2]


def test_no_detectors_score_nothing() -> None:
    none, labels = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    assert dissection_scores(none, labels) == (0.0, 0.0, 0, 0)
    assert [c.tolist() for c in score_curves(none, labels, torch.tensor([0.0, 0.5]))] == [[0, 0], [0, 0]]


def test_the_cut_holds_in_every_category() -> None:
    iou, labels = torch.tensor([0.5, 0.25, 0.06], dtype=torch.float64), torch.tensor([0, 1, 1])
    first, second = category_scores(iou, labels, torch.tensor([1, 0]), 2, cut=0.3)
    assert (first.interpretable, first.unique, second.interpretable, second.unique) == (0, 0, 1, 1)
