"""Masks and regions: the definition pixel by pixel, ties, and what lies between 0 and 1."""

import pytest
import torch
from torch import Tensor

from uibe.functional.bilinear import upsample
from uibe.functional.regions import firing, strongest

SIZE = (6, 8)


def drawn(detectors: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return (
        torch.randn(detectors, 3, 4, generator=torch.Generator().manual_seed(detectors)).to(dtype) / 4 - 0.15
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_regions_equal_the_definition(dtype: torch.dtype) -> None:
    logits = drawn(5, dtype)
    found, up = strongest(logits, SIZE), upsample(logits, SIZE)
    assert found.dtype == torch.int64
    assert set(found.unique().tolist()) == {-1, 0, 1, 2, 3, 4}
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            values = up[:, row, column].tolist()
            expected = values.index(max(values)) if max(values) > 0 else -1
            assert found[row, column] == expected


def test_regions_are_the_masks_without_overlaps() -> None:
    logits = drawn(4)
    masks, found = torch.stack([firing(each, SIZE) for each in logits]), strongest(logits, SIZE)
    assert torch.equal(masks.any(0), found >= 0)
    assert bool((masks.sum(0) > 1).any())
    for place, mask in enumerate(masks):
        assert bool(mask[found == place].all())


def test_of_equals_the_first_counts_and_zero_does_not_fire() -> None:
    same = torch.full((1, 1), 0.25, dtype=torch.float64)
    assert strongest(torch.stack([0 * same, same, same]), (1, 1)).tolist() == [[1]]
    assert strongest(torch.stack([0 * same]), (1, 1)).tolist() == [[-1]]
    assert firing(0 * same, (1, 1)).tolist() == [[False]]


def test_differences_below_float32_are_seen_in_float64() -> None:
    logits = torch.tensor([1.0, 1.0 + 1e-12, 1.0 + 5e-13], dtype=torch.float64).view(3, 1, 1)
    assert strongest(logits, (1, 1)).tolist() == [[1]]


def test_without_detectors_nothing_fires() -> None:
    assert strongest(torch.zeros(0, 1, 1), (2, 2)).tolist() == [[-1, -1], [-1, -1]]
