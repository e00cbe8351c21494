"""Strongest images without near duplicates: planted ones are passed over, and fill places that stay empty."""

import pytest
import torch
from torch import Tensor

from uibe.report.distinct import distinct_images, looks
from uibe.report.examples import strongest_images

DIRECTION = torch.eye(32)[:1]
SILENT_BELOW = torch.tensor([1.0])


def scenes(copies: int, number: int = 5) -> Tensor:
    """`copies` frames of each of `number` scenes; scene 0 excites channel 0 most, then scene 1, and so on."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(number, 32, 2, 2, generator=generator) * 3
    base[:, 0, 0, 0] = 40.0 - 5 * torch.arange(number)
    frames = base.repeat_interleave(copies, 0)
    return frames + 0.01 * torch.rand(frames.shape, generator=generator)


def chosen(features: Tensor, count: int, threshold: float = 1.0, batch: int = 4) -> list[int]:
    found = distinct_images(features.split(batch), DIRECTION, torch.tensor([threshold]), count)
    positions: list[int] = found.positions[0].tolist()
    return positions


def test_planted_frames_of_a_scene_are_shown_once() -> None:
    features = scenes(copies=4)
    (plain,) = strongest_images([features], DIRECTION, 3).positions.tolist()
    assert {place // 4 for place in plain} == {0}  # all three of the strongest are one scene
    assert [place // 4 for place in chosen(features, 3)] == [0, 1, 2]
    assert chosen(features, 3)[0] == plain[0]


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_batches_do_not_matter(batch: int) -> None:
    assert chosen(scenes(4), 3, batch=batch) == chosen(scenes(4), 3)


def test_maps_are_those_of_the_images_strongest_first() -> None:
    features = scenes(4)
    found = distinct_images(features.split(7), DIRECTION, SILENT_BELOW, 4)
    assert torch.equal(found.maps[0], features[found.positions[0], 0])
    peaks = found.maps.flatten(2).amax(2)[0]
    assert torch.equal(peaks, peaks.sort(descending=True).values)


def test_a_near_duplicate_that_fires_is_better_than_silence() -> None:
    features = scenes(copies=4)
    places = chosen(features, 4, threshold=34.0)  # only scenes 0 and 1 exceed it
    assert sorted(place // 4 for place in places) == [0, 0, 0, 1]
    places = chosen(features, 10, threshold=34.0)  # eight frames fire; then scenes not shown yet
    assert sorted(place // 4 for place in places) == [0] * 4 + [1] * 4 + [2, 3]


def test_one_scene_alone_still_fills_the_places() -> None:
    same = torch.ones(6, 32, 1, 1)
    assert chosen(same, 3) == [0, 1, 2]
    assert len(chosen(scenes(6, number=1), 3)) == 3


def test_fewer_images_than_asked_for() -> None:
    assert sorted(chosen(scenes(2, number=2), 9)) == [0, 1, 2, 3]
    assert chosen(scenes(1, number=1), 9) == [0]


def test_no_channel_outweighs_the_others() -> None:
    means = torch.rand(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(looks(means), looks(means * torch.tensor([1e4, 1.0, 1e-4, 7.0])))
