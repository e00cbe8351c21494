"""What counts do not depend on, and how they follow what they do: images, labels, detectors, thresholds."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.test_tally import CATEGORIES, NUM_CATEGORIES, counted, image_labels, random_case
from uibe.data.broden import ImageLabels
from uibe.functional.label_counts import label_counts
from uibe.functional.scores import assign_labels, dissection_scores
from uibe.functional.tally import UNIONS, Tally, Union, empty_tally, image_counts, iou, tally_batch

Case = tuple[Tensor, Tensor, list[ImageLabels]]

seeds, unions = st.integers(0, 10**6), st.sampled_from(UNIONS)
few = settings(max_examples=15)
NO_PIXELS = len(CATEGORIES)  # a concept beside them, of category 0, that nothing carries


def same(found: Tally, expected: Sequence[Tensor]) -> None:
    for name, each, other in zip(Tally._fields, found, expected, strict=True):
        assert torch.equal(each, other), name


def renumbered(labels: Sequence[ImageLabels], numbers: Tensor) -> list[ImageLabels]:
    """Concept `c` becomes `numbers[c]`."""
    codes = torch.cat([torch.zeros(1, dtype=torch.int64), numbers + 1])
    return [
        image_labels(codes[each.planes.long()], numbers[each.image_wide].tolist(), each.annotated.tolist())
        for each in labels
    ]


def with_categories(case: Case, union: Union, categories: Tensor) -> Tally:
    maps, thresholds, labels = case
    tally = empty_tally(len(thresholds), len(categories), NUM_CATEGORIES)
    for counts in label_counts(labels):
        tally_batch(tally, maps[counts.images], thresholds, counts, categories, union)
    return tally


@few
@given(seed=seeds, union=unions, cut=st.integers(0, 5), order=st.permutations(range(5)))
def test_order_and_batches_of_images_do_not_matter(
    seed: int, union: Union, cut: int, order: list[int]
) -> None:
    maps, thresholds, labels = random_case(seed)
    moved = maps[order], [labels[place] for place in order]
    parts = [
        counted(moved[0][part], thresholds, moved[1][part], union) for part in (slice(cut), slice(cut, None))
    ]
    added = [torch.stack(each).sum(0) for each in zip(*parts, strict=True)]
    same(counted(maps, thresholds, labels, union), added)


@few
@given(seed=seeds, union=unions, times=st.integers(2, 3))
def test_images_seen_several_times_multiply_counts_and_leave_iou(seed: int, union: Union, times: int) -> None:
    maps, thresholds, labels = random_case(seed)
    once = counted(maps, thresholds, labels, union)
    again = counted(maps.repeat(times, 1, 1, 1), thresholds, times * labels, union)
    same(again, [times * each for each in once])
    assert torch.equal(*(iou(each, torch.tensor(CATEGORIES)) for each in (once, again)))


@few
@given(seed=seeds, union=unions, order=st.permutations(range(3)))
def test_detectors_are_counted_each_by_itself(seed: int, union: Union, order: list[int]) -> None:
    maps, thresholds, labels = random_case(seed)
    plain = counted(maps, thresholds, labels, union)
    moved = counted(maps[:, order], thresholds[order], labels, union)
    same(moved, (plain.intersections[order], plain.activated[order], plain.labelled))


@few
@given(seed=seeds, union=unions, order=st.permutations(range(len(CATEGORIES))))
def test_renumbered_labels_permute_counts_and_leave_the_scores(
    seed: int, union: Union, order: list[int]
) -> None:
    """Where two concepts tie, the lowest number is taken: another label, but the same IoU on train."""
    maps, thresholds, labels = random_case(seed)
    numbers, categories = torch.tensor(order), torch.tensor(CATEGORIES)
    moved_categories = torch.empty_like(categories).scatter_(0, numbers, categories)
    plain = counted(maps, thresholds, labels, union)
    moved = with_categories((maps, thresholds, renumbered(labels, numbers)), union, moved_categories)
    assert torch.equal(moved.intersections[:, numbers], plain.intersections)
    assert torch.equal(moved.activated, plain.activated)
    assert torch.equal(moved.labelled[numbers], plain.labelled)
    before, after = iou(plain, categories), iou(moved, moved_categories)
    best = assign_labels(before)
    untied = (before == before.amax(1, keepdim=True)).sum(1) == 1
    assert torch.equal(assign_labels(after)[untied], numbers[best][untied])
    assert torch.equal(after.amax(1), before.amax(1))
    renamed = dissection_scores(after.gather(1, numbers[best][:, None])[:, 0], numbers[best])
    expected = dissection_scores(before.gather(1, best[:, None])[:, 0], best)
    assert renamed == pytest.approx(expected)


def test_the_lowest_number_takes_a_tie_whatever_the_concepts_are_called() -> None:
    tied = torch.tensor([[0.5, 0.5, 0.25]])
    assert assign_labels(tied).tolist() == [0]
    assert assign_labels(tied[:, [1, 0, 2]]).tolist() == [0]  # renumbered: the other of the two


@few
@given(seed=seeds, union=unions)
def test_a_concept_without_pixels_changes_nothing(seed: int, union: Union) -> None:
    case = random_case(seed)
    plain = counted(*case, union)
    more = with_categories(case, union, torch.tensor([*CATEGORIES, 0]))
    assert torch.equal(more.intersections[:, :NO_PIXELS], plain.intersections)
    assert torch.equal(more.activated, plain.activated)
    assert more.labelled.tolist() == [*plain.labelled.tolist(), 0]
    found = iou(more, torch.tensor([*CATEGORIES, 0]))
    assert not found[:, NO_PIXELS].any()
    assert torch.equal(assign_labels(found), assign_labels(iou(plain, torch.tensor(CATEGORIES))))


@few
@given(seed=seeds, union=unions)
def test_a_detector_that_never_fires_adds_nothing_to_the_scores(seed: int, union: Union) -> None:
    maps, thresholds, labels = random_case(seed)
    silent = torch.cat([thresholds, maps.amax()[None]])
    categories = torch.tensor(CATEGORIES)
    scores = []
    for tally in (
        counted(maps, thresholds, labels, union),
        counted(torch.cat([maps, maps[:, :1]], 1), silent, labels, union),
    ):
        found = iou(tally, categories)
        scores.append(dissection_scores(found.amax(1), assign_labels(found)))
    assert scores[0] == scores[1]
    assert not tally.activated[-1].any()
    assert not tally.intersections[-1].any()


@few
@given(seed=seeds, rises=st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_higher_thresholds_count_no_more(seed: int, rises: list[int]) -> None:
    maps, thresholds, labels = random_case(seed)
    low = counted(maps, thresholds, labels, "annotated")
    high = counted(maps, thresholds + torch.tensor(rises) / 8, labels, "annotated")
    assert (high.activated <= low.activated).all()
    assert (high.intersections <= low.intersections).all()
    assert torch.equal(high.labelled, low.labelled)


@few
@given(seed=seeds, union=unions)
def test_counts_keep_to_their_bounds(seed: int, union: Union) -> None:
    maps, thresholds, labels = random_case(seed)
    tally = counted(maps, thresholds, labels, union)
    area = sum(each.planes[0].numel() for each in labels)
    assert (tally.intersections <= tally.labelled).all()
    assert (tally.labelled <= area).all()
    assert (tally.activated <= area).all()
    if union == "netdissect-lite":  # a mask that meets a concept counts for its category
        assert (tally.intersections <= tally.activated[:, CATEGORIES]).all()


@few
@given(seed=seeds, factor=st.sampled_from([0.5, 2.0, 1024.0]), shift=st.integers(-8, 8))
def test_projections_and_thresholds_on_another_scale_fire_alike(seed: int, factor: float, shift: int) -> None:
    maps, thresholds, labels = random_case(seed)
    plain = counted(maps, thresholds, labels, "annotated")
    same(counted(factor * (maps + shift), factor * (thresholds + shift), labels, "annotated"), plain)


def test_projections_that_are_not_numbers_are_refused() -> None:
    maps, thresholds, labels = random_case(0)
    maps[3, 1, 0, 2] = torch.nan
    with pytest.raises(ValueError, match="expected finite projections to count masks of, got NaN"):
        counted(maps, thresholds, labels, "annotated")
    [counts] = label_counts(labels)
    zeros = torch.zeros(len(thresholds), dtype=torch.int64)
    with pytest.raises(ValueError, match="NaN"):
        image_counts(maps, thresholds, counts, torch.tensor(CATEGORIES), zeros)
