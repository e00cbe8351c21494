"""Pictures of detectors: what is marked, what is faded, and that files of others stay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from uibe.functional.detectors import projection_maps
from uibe.report import examples as module
from uibe.report.examples import Examples, strongest_images
from uibe.report.pictures import remove_stale_pictures, write_pictures
from uibe.report.sprites import TILE, sprite, sprite_size, tile_of

WHITE = Image.new("RGB", (20, 10), "white")
OUTLINE = [255, 212, 0]


def drawn(mask: Tensor) -> np.ndarray:
    return np.asarray(sprite([tile_of(WHITE)], mask[None].float(), 0.5))


def test_mask_is_outlined_and_the_outside_faded() -> None:
    picture = drawn(torch.tensor([[0, 1], [0, 1]]))
    assert picture.shape == (TILE, TILE, 4)
    row = picture[TILE // 2, :, :3]
    edge = np.flatnonzero((row == OUTLINE).all(1))
    assert list(edge) == [79, 80, 158, 159]  # the boundary, and where the image ends
    assert (row[:79] == 238).all()
    assert (row[81:158] == 255).all()


def test_whole_mask_is_outlined_and_none_is_not() -> None:
    whole, none = drawn(torch.ones(2, 2)), drawn(torch.zeros(2, 2))
    assert (whole[0, 1:-1, :3] == OUTLINE).all()
    assert (whole[4:-4, 4:-4, :3] == 255).all()
    assert (none[..., :3] == 238).all()


def test_threshold_itself_does_not_fire() -> None:
    assert (np.asarray(sprite([tile_of(WHITE)], torch.full((1, 2, 2), 0.5), 0.5))[..., :3] == 238).all()


def test_images_stand_in_rows_with_clear_gaps() -> None:
    tiles = [tile_of(Image.new("RGB", (8, 8), (shade, 0, 0))) for shade in (50, 100, 150, 200)]
    picture = np.asarray(sprite(tiles, torch.ones(4, 1, 1), 0.0))
    assert picture.shape[1::-1] == sprite_size(4)
    step = TILE + 4
    places = [(0, 0), (0, step), (0, 2 * step), (step, 0)]
    assert [picture[top + 80, left + 80, 0] for top, left in places] == [50, 100, 150, 200]
    assert (picture[TILE : TILE + 4, :, 3] == 0).all()
    assert (picture[step:, step:, 3] == 0).all()


def test_an_image_without_a_map_is_refused() -> None:
    with pytest.raises(ValueError, match="an image for each map"):
        sprite([tile_of(WHITE)], torch.zeros(2, 1, 1), 0.0)


def test_rerun_removes_its_own_pictures_only(tmp_path: Path) -> None:
    first = write_pictures(tmp_path, _examples(3), torch.full((3,), 0.5), lambda _: WHITE)
    foreign = tmp_path / "detectors" / "mine.webp"
    foreign.write_bytes(b"kept")
    second = write_pictures(tmp_path, _examples(2), torch.full((2,), 2.0), lambda _: WHITE)
    assert not set(first) & set(second)
    assert all((tmp_path / path).is_file() for path in [*first, *second])  # the old page's are still there
    remove_stale_pictures(tmp_path, second)
    left = {path.name for path in (tmp_path / "detectors").iterdir()}
    assert left == {Path(path).name for path in second} | {"mine.webp"}


@pytest.mark.parametrize("budget", [1, 2**26])
def test_strongest_images_are_those_of_a_full_sort(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROJECTIONS", budget)
    generator = torch.Generator().manual_seed(1)
    features = torch.randint(0, 4, (23, 3, 2, 2), generator=generator).float()  # with ties
    directions = torch.eye(3)
    found = strongest_images(features.split(5), directions, count=4)
    maps = projection_maps(features, directions).transpose(0, 1)
    order = maps.flatten(2).amax(2).argsort(dim=1, descending=True, stable=True)[:, :4]
    assert torch.equal(found.positions, order)
    assert torch.equal(found.maps, maps[torch.arange(3)[:, None], order])


def _examples(number: int) -> Examples:
    return Examples(torch.zeros(number, 2, dtype=torch.int64), torch.rand(number, 2, 3, 3))
