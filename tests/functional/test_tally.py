"""Network Dissection's counts equal a slow oracle, whatever the batches and the order."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.references import tally as reference
from tests.references.tally import ImageTruth
from uibe.data.broden import ImageLabels
from uibe.functional.bilinear import upsample
from uibe.functional.label_counts import label_counts
from uibe.functional.tally import UNIONS, Tally, Union, empty_tally, iou, tally_batch

CATEGORIES = [0, 0, 0, 1, 1, 2, 2]  # of 7 concepts: object, part, scene
NUM_CATEGORIES = 3
unions = pytest.mark.parametrize("union", UNIONS)


def image_labels(planes: Tensor, image_wide: Sequence[int], annotated: Sequence[bool]) -> ImageLabels:
    wide = torch.tensor(image_wide, dtype=torch.int64)
    concepts = torch.tensor(sorted({*planes[planes > 0].sub(1).tolist(), *image_wide}), dtype=torch.int64)
    return ImageLabels(planes.int(), wide, torch.tensor(annotated), concepts)


def random_case(
    seed: int, images: int = 5, detectors: int = 3, planes: int = 2, factor: int = 4
) -> tuple[Tensor, Tensor, list[ImageLabels]]:
    """Scores and thresholds in eighths and factors of two: interpolation is exact in float32."""
    g = torch.Generator().manual_seed(seed)
    height, width = 2, 4
    maps = torch.randint(-8, 24, (images, detectors, height, width), generator=g) / 8
    thresholds = torch.randint(-4, 16, (detectors,), generator=g) / 8
    labels = []
    for _ in range(images):
        codes = torch.randint(0, 6, (planes, height * factor, width * factor), generator=g)
        wide = [c for c in (5, 6) if torch.rand((), generator=g) < 0.5]
        annotated = (torch.rand(NUM_CATEGORIES, generator=g) < 0.7).tolist()
        labels.append(image_labels(codes, wide, annotated))
    return maps, thresholds, labels


def counted(
    maps: Tensor, thresholds: Tensor, labels: Sequence[ImageLabels], union: Union, batch: int = 64
) -> Tally:
    tally = empty_tally(len(thresholds), len(CATEGORIES), NUM_CATEGORIES)
    for start in range(0, len(maps), batch):
        part = slice(start, start + batch)
        for counts in label_counts(labels[part]):
            tally_batch(tally, maps[part][counts.images], thresholds, counts, torch.tensor(CATEGORIES), union)
    return tally


def expected_counts(
    maps: Tensor, thresholds: Tensor, labels: Sequence[ImageLabels], union: Union
) -> tuple[reference.Counts, ...]:
    truth = [
        ImageTruth(scores.numpy(), each.planes.numpy(), each.image_wide.tolist(), each.annotated.tolist())
        for scores, each in zip(maps, labels, strict=True)
    ]
    return reference.tally(truth, thresholds.tolist(), CATEGORIES, union)


def assert_exact(case: tuple[Tensor, Tensor, list[ImageLabels]], union: Union) -> Tally:
    found = counted(*case, union)
    for name, counts, expected in zip(Tally._fields, found, expected_counts(*case, union), strict=True):
        assert counts.dtype == torch.int64
        assert np.array_equal(counts.numpy(), expected), name
    return found


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 4),
    detectors=st.integers(1, 3),
    planes=st.integers(0, 3),
    factor=st.sampled_from([1, 2, 4]),
    union=st.sampled_from(UNIONS),
)
def test_random_cases_equal_the_oracle(
    seed: int, images: int, detectors: int, planes: int, factor: int, union: Union
) -> None:
    case = random_case(seed, images, detectors, planes, factor)
    tally = assert_exact(case, union)
    expected = reference.iou(*(counts.numpy() for counts in tally), CATEGORIES)
    assert np.array_equal(iou(tally, torch.tensor(CATEGORIES)).numpy(), expected)


# Two detectors at the resolution of the 2 x 2 segmentation (nothing to interpolate), threshold 1, strict.
#   detector 0 scores [[2, 1], [3, 0]]: fires at the pixels (0,0), (1,0), not at (0,1), where 1 > 1 fails
#   detector 1 scores [[1, 1], [1, 1]]: never
# Planes: A = [[1, 1], [0, 2]], B = [[1, 4], [4, 0]] (codes; concept = code - 1), concept 5 image-wide.
#   concept 0: (0,0) in both planes, (0,1): 2 pixels; concept 1: (1,1); concept 3: (0,1), (1,0); 5: all 4
#   met by {(0,0), (1,0)}: concept 0 once, 3 once, 5 twice
# Categories: 0 annotated, 1 not, 2 annotated. So act is (2, 0, 2); for netdissect-lite (2, 2, 2),
# as the mask itself meets concept 3 of category 1.
HAND_MAPS = torch.tensor([[[[2.0, 1.0], [3.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])
HAND_PLANES = torch.tensor([[[1, 1], [0, 2]], [[1, 4], [4, 0]]])
HAND_LABELS = image_labels(HAND_PLANES, [5], [True, False, True])
HAND_COUNTS: dict[Union, list[list[int]]] = {
    "annotated": [[2, 0, 2], [0, 0, 0]],
    "netdissect-lite": [[2, 2, 2], [0, 0, 0]],
}


@unions
def test_by_hand(union: Union) -> None:
    tally = counted(HAND_MAPS, torch.ones(2), [HAND_LABELS], union)
    assert tally.intersections.tolist() == [[1, 0, 0, 1, 0, 2, 0], [0] * 7]
    assert tally.activated.tolist() == HAND_COUNTS[union]
    assert tally.labelled.tolist() == [2, 1, 0, 2, 0, 4, 0]


@unions
def test_the_oracle_agrees_with_the_hand(union: Union) -> None:
    inter, act, label = expected_counts(HAND_MAPS, torch.ones(2), [HAND_LABELS], union)
    assert inter.tolist() == [[1, 0, 0, 1, 0, 2, 0], [0] * 7]
    assert act.tolist() == HAND_COUNTS[union]
    assert label.tolist() == [2, 1, 0, 2, 0, 4, 0]
    # concept 0: 1 / (2 + 2 - 1); concept 5: 2 / (2 + 4 - 2)
    found = reference.iou(inter, act, label, CATEGORIES)[0]
    assert found[[0, 1, 5]].tolist() == [1 / 3, 0.0, 1 / 2]


def test_bilinear_by_hand() -> None:
    # target centres at -1/4, 1/4, 3/4, 5/4 of the sources: the outer ones are clamped
    expected = [[0.0, 1.0, 3.0, 4.0]]
    assert reference.bilinear(np.array([[0.0, 4.0]]), 1, 4).tolist() == expected
    assert upsample(torch.tensor([[[0.0, 4.0]]]), (1, 4))[0].tolist() == expected


@unions
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_size_does_not_matter(batch: int, union: Union) -> None:
    case = random_case(3, images=67)
    for found, whole in zip(counted(*case, union, batch), counted(*case, union, 67), strict=True):
        assert torch.equal(found, whole)


@unions
def test_order_of_images_does_not_matter(union: Union) -> None:
    maps, thresholds, labels = random_case(4, images=9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = counted(maps[order], thresholds, [labels[i] for i in order.tolist()], union)
    for found, original in zip(shuffled, counted(maps, thresholds, labels, union), strict=True):
        assert torch.equal(found, original)


@unions
def test_images_with_image_wide_labels_alone(union: Union) -> None:
    maps, thresholds, _ = random_case(5, images=3)
    empty = torch.zeros(0, 8, 16, dtype=torch.int32)
    labels = [image_labels(empty, wide, [False, False, True]) for wide in ([5], [5, 6], [])]
    tally = assert_exact((maps, thresholds, labels), union)
    assert tally.labelled.tolist() == [0, 0, 0, 0, 0, 2 * 128, 128]


def test_a_label_in_two_planes_counts_its_pixels_once() -> None:
    plane = torch.tensor([[[1, 2], [0, 0]]])
    once = image_labels(plane, [], [True] * 3)
    twice = image_labels(plane.repeat(2, 1, 1), [], [True] * 3)
    maps, thresholds = torch.full((1, 1, 2, 2), 2.0), torch.ones(1)
    for found, expected in zip(
        counted(maps, thresholds, [twice], "annotated"),
        counted(maps, thresholds, [once], "annotated"),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_a_pixel_carries_all_of_its_part_labels() -> None:
    parts = image_labels(torch.tensor([[[4]], [[5]]]), [], [False, True, False])
    tally = counted(torch.full((1, 1, 1, 1), 2.0), torch.ones(1), [parts], "annotated")
    assert tally.intersections.tolist() == [[0, 0, 0, 1, 1, 0, 0]]
    assert tally.activated.tolist() == [[0, 1, 0]]


def test_a_concept_both_in_a_plane_and_image_wide_covers_the_image() -> None:
    labels = image_labels(torch.tensor([[[6, 0], [0, 0]]]), [5], [False, False, True])
    [counts] = label_counts([labels])
    assert (counts.concepts.tolist(), counts.total().tolist()) == ([[5]], [[4]])


def test_union_rules_differ_where_the_mask_misses_the_category() -> None:
    # category 0 is annotated, but its only label lies outside the mask (left half fires, right is labelled)
    labels = image_labels(torch.tensor([[[0, 1], [0, 1]]]), [], [True, False, False])
    maps = torch.tensor([[[[2.0, 0.0], [2.0, 0.0]]]])
    areas = [counted(maps, torch.ones(1), [labels], union).activated.tolist() for union in UNIONS]
    assert areas == [[[2, 0, 0]], [[0, 0, 0]]]


def test_firing_at_the_threshold_is_not_firing() -> None:
    labels = image_labels(torch.ones(1, 4, 4), [], [True] * 3)
    for value, pixels in ((1.0, 0), (1.125, 16)):
        tally = counted(torch.full((1, 1, 2, 2), value), torch.ones(1), [labels], "annotated")
        assert tally.intersections[0, 0] == pixels


def test_a_map_whose_maximum_does_not_exceed_the_threshold_never_fires() -> None:
    # interpolation of a constant rounds; the rule keeps such maps out whatever their value and size
    labels = image_labels(torch.ones(1, 13, 11), [], [True] * 3)
    values = torch.rand(200, generator=torch.Generator().manual_seed(0))
    maps = values[None, :, None, None].expand(1, 200, 7, 5)
    assert int(counted(maps, values, [labels], "annotated").intersections.sum()) == 0


@unions
def test_iou_is_a_share_and_zero_for_an_empty_union(union: Union) -> None:
    maps, thresholds, labels = random_case(6, images=6)
    consistent = [each._replace(annotated=torch.ones(NUM_CATEGORIES, dtype=torch.bool)) for each in labels]
    found = iou(counted(maps, thresholds, consistent, union), torch.tensor(CATEGORIES))
    assert found.dtype == torch.float64
    assert bool(((found >= 0) & (found <= 1)).all())
    assert float(found.max()) > 0
    assert not iou(empty_tally(2, 7, 3), torch.tensor(CATEGORIES)).any()


def test_a_perfect_detector_has_iou_one() -> None:
    labels = image_labels(torch.tensor([[[1, 0], [0, 1]]]), [], [True] * 3)
    tally = counted(torch.tensor([[[[2.0, 0.0], [0.0, 2.0]]]]), torch.ones(1), [labels], "annotated")
    assert iou(tally, torch.tensor(CATEGORIES))[0, :2].tolist() == [1.0, 0.0]


def test_unknown_union_and_unequal_numbers_are_refused() -> None:
    maps, thresholds, labels = random_case(0, images=2)
    with pytest.raises(ValueError, match="expected union to be one of annotated, netdissect-lite"):
        counted(maps, thresholds, labels, "all")  # type: ignore[arg-type]
    [one] = label_counts(labels[:1])
    with pytest.raises(ValueError, match="expected labels for 2 images, got 1"):
        tally_batch(empty_tally(3, 7, 3), maps, thresholds, one, torch.tensor(CATEGORIES))
