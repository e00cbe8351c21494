"""Damaged images and masks are named, or skipped, and fingerprints follow what is left."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.builders import write_broden, write_mask
from uibe.data.broden import (
    BrodenDataset,
    BrodenIndex,
    image_fingerprint,
    label_fingerprint,
    verify,
)
from uibe.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_broden(tmp_path / "broden")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _garble(path: Path) -> None:
    path.write_bytes(b"not an image")


def _break_chunk(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


DAMAGES = [Path.unlink, _truncate, _garble]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["a/0.jpg", "a/1.png"])
def test_damaged_image_is_named_with_its_row(root: Path, damage: Callable[[Path], None], name: str) -> None:
    damage(root / "images" / name)
    dataset = BrodenDataset(BrodenIndex.read(root))
    row = int(name[2])
    with pytest.raises(DataError) as caught:
        dataset.image(row)
    assert name in str(caught.value)
    assert f"index.csv, line {row + 2}" in str(caught.value)
    assert dataset.labels(row), "labels need no image"


@pytest.mark.parametrize("damage", [*DAMAGES, _break_chunk])
def test_damaged_mask_is_named_with_its_row(root: Path, damage: Callable[[Path], None]) -> None:
    damage(root / "images/a/0_part_2.png")
    with pytest.raises(DataError, match=r"a/0_part_2\.png \(from .*index\.csv, line 2\)"):
        BrodenDataset(BrodenIndex.read(root)).labels(0)


def test_mask_of_wrong_size_is_named_with_both_sizes(root: Path) -> None:
    write_mask(root / "images/a/1_part.png", np.zeros((6, 4), np.int64))
    with pytest.raises(DataError, match=r"a/1_part\.png .*line 3\): 4 x 6 pixels; expected 6 x 4"):
        BrodenDataset(BrodenIndex.read(root)).labels(1)


def test_unknown_number_in_a_mask_is_named(root: Path) -> None:
    write_mask(root / "images/a/1_part.png", np.full((4, 6), 513))
    with pytest.raises(DataError, match=r"a/1_part\.png .*line 3\): label number 513"):
        BrodenDataset(BrodenIndex.read(root)).labels(1)


def test_verify_refuses_or_skips_and_says_what(root: Path) -> None:
    index = BrodenIndex.read(root)
    assert verify(index)[0].rows == index.rows
    assert verify(index, "skip")[1] == []
    _truncate(root / "images/a/1.png")
    (root / "images/b/3.jpg").unlink()
    with pytest.raises(DataError, match=r"a/1\.png"):
        verify(index)
    sound, messages = verify(index, "skip")
    assert [row.image for row in sound.rows] == ["a/0.jpg", "b/2.jpg"]
    assert ["a/1.png" in messages[0], "b/3.jpg" in messages[1]] == [True, True]


def test_verify_lists_its_modes(root: Path) -> None:
    with pytest.raises(ConfigError, match="expected refuse or skip"):
        verify(BrodenIndex.read(root), "ignore")


def test_verify_refuses_a_set_of_nothing_but_damage(root: Path) -> None:
    index = BrodenIndex.read(root)
    shutil.rmtree(root / "images")
    with pytest.raises(DataError, match="all 4 images are damaged"):
        verify(index, "skip")


def test_verify_refuses_a_split_of_nothing_but_damage(root: Path) -> None:
    for name in ("b/2.jpg", "b/3.jpg"):
        (root / "images" / name).unlink()
    with pytest.raises(DataError, match=r"all 2 images of split 'val' are damaged; the first: .*b/2\.jpg"):
        verify(BrodenIndex.read(root), "skip")


def test_fingerprints_follow_content_and_not_place(root: Path, tmp_path: Path) -> None:
    index = BrodenIndex.read(root)
    images, labels = image_fingerprint(index), label_fingerprint(index)
    elsewhere = BrodenIndex.read(shutil.copytree(root, tmp_path / "elsewhere"))
    assert (image_fingerprint(elsewhere), label_fingerprint(elsewhere)) == (images, labels)
    write_mask(root / "images/a/1_part.png", np.zeros((4, 6), np.int64))
    assert image_fingerprint(index) == images
    assert label_fingerprint(index) != labels
    labels = label_fingerprint(index)
    Image.new("RGB", (8, 8)).save(root / "images/b/2.jpg")
    assert image_fingerprint(index) != images
    assert label_fingerprint(index) == labels


def test_fingerprints_follow_selection(root: Path) -> None:
    index, part = BrodenIndex.read(root), BrodenIndex.read(root, ["part"])
    assert image_fingerprint(part) == image_fingerprint(index)
    assert label_fingerprint(part) != label_fingerprint(index)
    (root / "images/b/3.jpg").write_bytes(b"")
    fewer = verify(index, "skip")[0]
    assert image_fingerprint(fewer) != image_fingerprint(index)
    assert label_fingerprint(fewer) != label_fingerprint(index)


@pytest.mark.parametrize("fingerprint", [image_fingerprint, label_fingerprint])
def test_fingerprint_of_missing_file_names_it(root: Path, fingerprint: Callable[[BrodenIndex], str]) -> None:
    index = BrodenIndex.read(root)
    shutil.rmtree(root / "images" / "a")
    with pytest.raises(DataError, match=r"a/0.*cannot be read"):
        fingerprint(index)
