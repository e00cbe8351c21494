"""A data set in a few lines: name, sources, splits, concepts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from uibe.data.broden import BrodenDataset
from uibe.data.facts import data_facts, root_name
from uibe.data.images import ImageFolderDataset

LABELS = SimpleNamespace(
    names=("sky", "car", "red"), category=torch.tensor([1, 1, 0]), categories=("color", "object", "part")
)


def broden(names: list[str]) -> BrodenDataset:
    """A data set of which no more than names is there."""
    rows = tuple(SimpleNamespace(image=name) for name in names)
    source = SimpleNamespace(place=lambda: "/home/me/sets/mine")
    made = BrodenDataset.__new__(BrodenDataset)
    cast("Any", made).index = SimpleNamespace(source=source, rows=rows, labels=LABELS)
    return made


def test_data_of_several_sources_is_told_by_them() -> None:
    names = ["dtd/a.jpg", "camvid/a.jpg", "camvid/deep/b.jpg", "loose.jpg"]
    assert data_facts(broden(names), {"train": range(1500), "val": range(2)}) == {
        "data": "mine",
        "sources": "camvid (2), dtd (1)",
        "images": "1,500 train, 2 val",
        "concepts": "3: 1 color, 2 object, 0 part",
    }


def test_many_sources_are_counted_and_none_are_left_out() -> None:
    many = data_facts(broden([f"{number}/a.jpg" for number in range(8)]), {})
    assert many["sources"].endswith("5 (1), 2 more")
    assert "sources" not in data_facts(broden(["a.jpg"]), {})


def test_a_folder_of_images_has_no_labels(tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    facts = data_facts(ImageFolderDataset(folder, pil_to_tensor), {"train": range(1)})
    assert facts == {"data": "holiday", "images": "1 train", "concepts": "no labels"}


@pytest.mark.parametrize(
    ("place", "name"),
    [("sets/a b/", "a b"), ("https://me:secret@host/", "host"), ("s3://bucket/part/set", "set")],
)
def test_roots_are_named_without_what_leads_there(place: str, name: str) -> None:
    assert root_name(place) == name
