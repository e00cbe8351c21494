"""Strongest images without near duplicates: planted ones are passed over, and fill places that stay empty."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from uibe.report.distinct import distinct_images, look
from uibe.report.examples import strongest_images

DIRECTION = torch.eye(3)[:1]
COPIES = 4  # frames of a scene, one after the other


def scenes(number: int = 5) -> Tensor:
    """Features: scene 0 excites channel 0 most, then scene 1, and so on, each frame a little differently."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(number * COPIES, 3, 2, 2, generator=generator)
    features[:, 0, 0, 0] += 5.0 * (number - torch.arange(number).repeat_interleave(COPIES))
    return features


def frame(position: int) -> Image.Image:
    """Noise of its scene, brighter from frame to frame, with a little noise of its own."""
    scene = np.random.default_rng(position // COPIES).uniform(0, 200, (32, 32, 3))
    own = np.random.default_rng(100 + position).uniform(0, 20, (32, 32, 3))
    return Image.fromarray((scene + own + 5 * (position % COPIES)).astype(np.uint8))


def chosen(features: Tensor, count: int, threshold: float = 0.0, batch: int = 4) -> list[int]:
    found = distinct_images(features.split(batch), DIRECTION, torch.tensor([threshold]), count, frame)
    positions: list[int] = found.positions[0].tolist()
    return positions


def test_planted_frames_of_a_scene_are_shown_once() -> None:
    features = scenes()
    (plain,) = strongest_images([features], DIRECTION, 3).positions.tolist()
    assert {place // COPIES for place in plain} == {0}  # all three of the strongest are one scene
    assert [place // COPIES for place in chosen(features, 3)] == [0, 1, 2]
    assert chosen(features, 3)[0] == plain[0]


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_batches_do_not_matter(batch: int) -> None:
    assert chosen(scenes(), 3, batch=batch) == chosen(scenes(), 3)


def test_maps_are_those_of_the_images_strongest_first() -> None:
    features = scenes()
    found = distinct_images(features.split(7), DIRECTION, torch.zeros(1), 6, frame)
    assert torch.equal(found.maps[0], features[found.positions[0], 0])
    peaks = found.maps.flatten(2).amax(2)[0]
    assert torch.equal(peaks, peaks.sort(descending=True).values)


def test_a_near_duplicate_that_fires_is_better_than_silence() -> None:
    between = 20.5 - 2.5  # scenes 0 and 1 reach 25 and 20, scene 2 only 15 to 16
    places = chosen(scenes(), 4, threshold=between)
    assert sorted(place // COPIES for place in places) == [0, 0, 0, 1]
    places = chosen(scenes(), 10, threshold=between)  # eight frames fire; then scenes not shown yet
    assert sorted(place // COPIES for place in places) == [0] * 4 + [1] * 4 + [2, 3]


def test_images_alike_in_content_only_are_not_duplicates() -> None:
    one, other = (look(frame(position)) for position in (0, COPIES))
    assert float(one @ look(frame(1))) > 0.9
    assert float(one @ other) < 0.5


def test_flat_images_are_duplicates_of_none() -> None:
    flat = Image.new("RGB", (8, 8), "red")
    found = distinct_images([torch.ones(4, 3, 1, 1)], DIRECTION, torch.zeros(1), 3, lambda _: flat)
    assert found.positions.tolist() == [[0, 1, 2]]


def test_fewer_images_than_asked_for() -> None:
    assert sorted(chosen(scenes(1), 9)) == [0, 1, 2, 3]


def test_images_are_read_once_and_only_where_needed() -> None:
    asked: list[int] = []

    def counted(position: int) -> Image.Image:
        asked.append(position)
        return frame(position)

    two = DIRECTION.expand(2, -1)
    distinct_images([scenes(20)], two, torch.zeros(2), 2, counted)
    assert len(asked) == len(set(asked)) <= COPIES + 1  # the first scene and one frame of the next
