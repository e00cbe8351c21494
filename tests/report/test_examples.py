"""Strongest images equal a sort over everything, whatever the batches."""

import pytest
import torch
from torch import Tensor

from uibe.functional.detectors import projection_maps
from uibe.report.examples import Examples, strongest_images

DIRECTIONS = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 1.0]])


def features(num: int = 23) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-9, 9, (num, 3, 2, 4), generator=generator).float()  # integers: many ties


def found(batch: int, count: int = 5) -> Examples:
    return strongest_images(features().split(batch), DIRECTIONS, count)


def test_equals_a_stable_sort_by_the_strongest_pixel() -> None:
    maps = projection_maps(features(), DIRECTIONS)
    for detector, positions in enumerate(found(23).positions.tolist()):
        peaks = [(-float(maps[image, detector].max()), image) for image in range(23)]
        assert positions == [image for _, image in sorted(peaks)[:5]]


@pytest.mark.parametrize("batch", [1, 4, 7, 22])
def test_batches_do_not_matter(batch: int) -> None:
    assert torch.equal(found(batch).positions, found(23).positions)
    assert torch.equal(found(batch).maps, found(23).maps)


def test_maps_are_those_of_the_images() -> None:
    maps = projection_maps(features(), DIRECTIONS)
    examples = found(4)
    for detector in range(2):
        assert torch.equal(examples.maps[detector], maps[examples.positions[detector], detector])


def test_fewer_images_than_asked_for() -> None:
    assert found(7, count=100).positions.shape == (2, 23)


def test_of_equal_images_the_first_counts() -> None:
    same = torch.ones(6, 3, 1, 1)
    assert strongest_images(same.split(2), DIRECTIONS[:1], 3).positions.tolist() == [[0, 1, 2]]


def test_no_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one batch"):
        strongest_images([], DIRECTIONS, 3)
