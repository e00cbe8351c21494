"""Labels at the layer's resolution: by hand and against the loops of the reference."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references.pixel_labels import carried
from uibe.data.broden import ImageLabels
from uibe.functional.pixel_labels import annotated_concepts, pixel_labels, pixel_signs


def labels_of(
    planes: Tensor, wide: tuple[int, ...] = (), annotated: tuple[bool, ...] = (True,)
) -> ImageLabels:
    concepts = torch.tensor(sorted({*planes[planes > 0].long().sub(1).tolist(), *wide}), dtype=torch.int64)
    return ImageLabels(planes, torch.tensor(wide, dtype=torch.int64), torch.tensor(annotated), concepts)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 2), (4, 4), (7, 5), (12, 13)])
@pytest.mark.parametrize("mask", [(4, 6), (5, 7), (9, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_equals_the_loops(size: tuple[int, int], mask: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(sum(size) * 100 + sum(mask))
    coarse = torch.randint(0, 4, (2, 3, 3), generator=generator)
    # blocks, so that cells are covered by half and more often enough
    planes = coarse.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, : mask[0], : mask[1]].to(dtype)
    labels = labels_of(planes, wide=(4,))
    expected = carried(planes.numpy(), [4], size, 6)
    assert expected[:, 4].all()
    np.testing.assert_array_equal(pixel_labels(labels, size, 6).numpy(), expected)


def test_exactly_half_is_enough_and_less_is_not() -> None:
    half = torch.tensor([[[1, 1, 2, 0], [0, 0, 0, 0]]])
    assert pixel_labels(labels_of(half), (1, 2), 2).tolist() == [[True, False], [False, False]]
    # thirds: the cell of 3 / 2 pixels holds the first pixel and half of the second
    thirds = torch.tensor([[[0, 1, 1]]])
    assert pixel_labels(labels_of(thirds), (1, 2), 1).tolist() == [[False], [True]]


def test_planes_join_to_cover_a_cell() -> None:
    planes = torch.tensor([[[1, 0, 0, 0]], [[1, 1, 0, 0]]])
    assert pixel_labels(labels_of(planes), (1, 1), 1).tolist() == [[True]]
    assert pixel_labels(labels_of(planes[:1]), (1, 1), 1).tolist() == [[False]]


def test_a_mask_smaller_than_the_layer_works() -> None:
    assert (
        pixel_labels(labels_of(torch.tensor([[[1, 0]]])), (2, 4), 1)[:, 0].tolist()
        == [True, True, False, False] * 2
    )


def test_a_code_beyond_the_planes_type_is_no_other_concept() -> None:
    planes = torch.ones(1, 2, 2, dtype=torch.uint8)
    labels = labels_of(planes, wide=(256,))  # its code 257 would be 1 in uint8
    found = pixel_labels(labels, (1, 1), 300)[0].nonzero()[:, 0]
    assert found.tolist() == [0, 256]


def test_an_image_without_concepts_carries_none() -> None:
    assert not pixel_labels(labels_of(torch.zeros(1, 4, 4, dtype=torch.uint8)), (2, 2), 3).any()
    empty = torch.zeros(0, 4, 4, dtype=torch.uint8)
    assert pixel_labels(labels_of(empty, wide=(1,)), (2, 2), 3).sum(0).tolist() == [0, 4, 0]


def test_signs_are_neither_where_the_category_is_not_annotated() -> None:
    first = labels_of(torch.tensor([[[1, 0]]]), annotated=(True, False))
    second = labels_of(torch.zeros(1, 1, 2, dtype=torch.int64), wide=(1,), annotated=(False, True))
    categories = torch.tensor([0, 1, 1])
    assert annotated_concepts(first, categories).tolist() == [True, False, False]
    signs = pixel_signs([first, second], (1, 2), categories, torch.tensor([2, 0, 1, 0]))
    assert signs.dtype == torch.int8
    assert signs.tolist() == [[-1, 1, -1, 1], [-1, 0, -1, 0], [0, -1, 1, -1], [0, -1, 1, -1]]
