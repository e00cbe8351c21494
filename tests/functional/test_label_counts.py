"""The table of running label counts, against counting pixel by pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.functional.cases import random_labels
from uibe.data.broden import ImageLabels
from uibe.functional.label_counts import LabelCounts, label_counts, table_scratch


def assert_counts(labels: list[ImageLabels], found: list[LabelCounts]) -> None:
    """Every image once, every entry counted pixel by pixel."""
    assert sorted(image for counts in found for image in counts.images.tolist()) == list(range(len(labels)))
    for counts in found:
        for place, image in enumerate(counts.images.tolist()):
            each = labels[image]
            assert counts.concepts[place, : len(each.concepts)].tolist() == each.concepts.tolist()
            assert not counts.concepts[place, len(each.concepts) :].any()
            assert counts.size == tuple(each.planes.shape[1:])
            for y in range(counts.size[0] + 1):
                assert (counts.table[y, place, :, 0] == y).all()
                for entry, concept in enumerate(each.concepts.tolist()):
                    if concept in each.image_wide.tolist():
                        assert counts.everywhere[place, entry]
                    else:
                        expected = (each.planes[:, :y] == concept + 1).any(0).sum(0)
                        assert counts.table[y, place, :, 1 + entry].tolist() == expected.tolist()
            assert not counts.table[:, place, :, 1 + len(each.concepts) :].any()
            assert counts.annotated[place].tolist() == each.annotated.tolist()


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.sampled_from([(2, 3, 4), (1, 3, 4), (0, 3, 4), (2, 5, 2)]), min_size=1, max_size=5),
    scratch=st.sampled_from([None, 600, 10**5]),
)
def test_equals_counting_pixels(seed: int, sizes: list[tuple[int, int, int]], scratch: int | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = [random_labels(generator, (height, width), planes) for planes, height, width in sizes]
    memory = None if scratch is None else torch.empty(scratch, dtype=torch.uint8)
    # a table in scratch memory is lost with the next one
    found = [counts._replace(table=counts.table.clone()) for counts in label_counts(labels, memory)]
    assert_counts(labels, found)


def test_totals_are_the_pixels_of_each_concept() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = [random_labels(generator, (4, 5)) for _ in range(4)]
    [counts] = label_counts(labels)
    for place, each in enumerate(labels):
        pixels = [
            20 if concept in each.image_wide.tolist() else int((each.planes == concept + 1).any(0).sum())
            for concept in each.concepts.tolist()
        ]
        assert counts.total()[place, : len(pixels)].tolist() == pixels


def test_a_batch_is_divided_where_the_memory_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = [random_labels(generator, (4, 4)) for _ in range(5)]
    one = 5 * 4 * 10 * 4  # bytes of an image's table of nine concepts at the most
    scratch = torch.empty(2 * one, dtype=torch.uint8)
    assert [len(counts.images) for counts in label_counts(labels, scratch)] == [2, 2, 1]
    tables = [counts.table for counts in label_counts(labels, scratch)]
    assert tables[0].untyped_storage().data_ptr() == scratch.untyped_storage().data_ptr()
    none = torch.empty(0, dtype=torch.uint8)
    assert [len(counts.images) for counts in label_counts(labels, none)] == [1] * 5


def test_no_images_need_no_table() -> None:
    assert list(label_counts([])) == []
    assert table_scratch().nbytes > 0


@pytest.mark.parametrize(("side", "dtype"), [(256, torch.float32), (257, torch.float64)])
def test_sums_over_large_masks_are_exact(side: int, dtype: torch.dtype) -> None:
    plane = torch.ones(1, side, side, dtype=torch.uint8)
    labels = ImageLabels(plane, torch.zeros(0).long(), torch.tensor([True]), torch.tensor([0]))
    [counts] = label_counts([labels])
    assert counts.table.dtype == dtype
    assert int(counts.total()) == side**2


def test_a_table_may_fill_the_scratch_memory() -> None:
    labels = [random_labels(torch.Generator().manual_seed(0), (4, 4))]
    [counts] = label_counts(labels)
    scratch = torch.empty(counts.table.nbytes, dtype=torch.uint8)
    [again] = label_counts(labels, scratch)
    assert again.table.untyped_storage().data_ptr() == scratch.untyped_storage().data_ptr()
    assert torch.equal(again.table, counts.table)


def test_an_image_without_concepts_has_its_pixels_only() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    [counts] = label_counts([ImageLabels(torch.zeros(1, 2, 3).long(), none, torch.tensor([True]), none)])
    assert (counts.concepts.shape, counts.total().shape) == ((1, 0), (1, 0))
    assert counts.table[:, 0, :, 0].tolist() == [[0.0] * 3, [1.0] * 3, [2.0] * 3]
