"""Folders of unlabelled images."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from uibe.data.images import ImageFolderDataset, content_fingerprint, image_fingerprint
from uibe.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for k, name in enumerate(["b.png", "a/z.JPG", "a/b/c.bmp", ".hidden.png", ".cache/d.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (k, k, k)).save(root / name)
    (root / "notes.txt").write_text("no image")
    return root


def test_finds_images_recursively_in_sorted_order(folder: Path) -> None:
    dataset = ImageFolderDataset(folder, pil_to_tensor)
    assert dataset.names == ("a/b/c.bmp", "a/z.JPG", "b.png")
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=3)))
    assert batch["image"].shape == (3, 3, 4, 4)
    assert batch["row"].tolist() == [0, 1, 2]


def test_positions_count_from_the_end_and_end(folder: Path) -> None:
    dataset = ImageFolderDataset(folder, pil_to_tensor)
    assert dataset[-1]["row"] == 2
    assert len(list(dataset)) == 3, "iteration stops by IndexError"


def test_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ImageFolderDataset(tmp_path / "nowhere", pil_to_tensor)
    with pytest.raises(DataError, match=r"no images; expected files ending in .*png"):
        ImageFolderDataset(tmp_path, pil_to_tensor)


def test_damaged_image_is_named(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: cannot be decoded"):
        ImageFolderDataset(folder, pil_to_tensor)[2]


def test_fingerprint_follows_names_and_content(folder: Path, tmp_path: Path) -> None:
    first = image_fingerprint(ImageFolderDataset(folder, pil_to_tensor))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert image_fingerprint(ImageFolderDataset(copy, pil_to_tensor)) == first
    (copy / "b.png").rename(copy / "c.png")
    assert image_fingerprint(ImageFolderDataset(copy, pil_to_tensor)) != first
    (copy / "c.png").rename(copy / "b.png")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(copy / "b.png")
    assert image_fingerprint(ImageFolderDataset(copy, pil_to_tensor)) != first


def test_fingerprint_depends_on_order(folder: Path) -> None:
    assert content_fingerprint(folder, ["b.png", "a/z.JPG"]) != content_fingerprint(
        folder, ["a/z.JPG", "b.png"]
    )
