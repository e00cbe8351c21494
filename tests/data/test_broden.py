"""Data sets in Broden's format: what is read, of csv files, images and masks."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from tests.data.builders import edit, write_broden
from uibe.data.broden import (
    BrodenDataset,
    BrodenIndex,
    collate,
    image_fingerprint,
    label_fingerprint,
)
from uibe.errors import DataError

MINI = Path(__file__).parents[3] / "shared" / "broden-mini"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_broden(tmp_path / "broden")


def test_index_lists_rows_and_labels(root: Path) -> None:
    index = BrodenIndex.read(root)
    assert [row.image for row in index.rows] == ["a/0.jpg", "a/1.png", "b/2.jpg", "b/3.jpg"]
    assert [row.line for row in index.rows] == [2, 3, 4, 5]
    assert index.rows[0].image_size == (8, 8)
    assert index.rows[0].mask_size == (4, 6)
    assert index.split_rows("train") == (0, 1)
    assert index.split_rows("val") == (2, 3)
    assert index.labels.categories == ("color", "object", "part", "scene", "texture")
    assert index.labels.numbers.tolist() == [1, 2, 3, 4, 5, 6, 7, 300]
    assert index.labels.names == ("grey-c", "car", "wall", "wheel", "door", "street-s", "striped", "hub")


def test_label_belongs_to_its_largest_category_and_to_the_first_of_equals(root: Path) -> None:
    labels = BrodenIndex.read(root).labels
    owner = {
        name: labels.categories[k] for name, k in zip(labels.names, labels.category.tolist(), strict=True)
    }
    assert owner["wall"] == "object"
    assert owner["door"] == "part"


def test_label_order_does_not_depend_on_the_order_of_the_file(root: Path) -> None:
    before = BrodenIndex.read(root).labels
    header, *lines = (root / "label.csv").read_text().splitlines()
    (root / "label.csv").write_text("\n".join([header, *reversed(lines)]))
    after = BrodenIndex.read(root).labels
    assert after.names == before.names
    assert torch.equal(after.codes, before.codes)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_mark_and_line_ends_change_nothing(root: Path, newline: str, encoding: str) -> None:
    expected = BrodenIndex.read(root)
    for path in root.glob("*.csv"):
        path.write_text(path.read_text(), encoding=encoding, newline=newline)
    found = BrodenIndex.read(root)
    assert found.rows == expected.rows
    assert found.labels.names == expected.labels.names


def test_categories_come_from_the_data_set(root: Path) -> None:
    for name in ("index", "label", "category"):
        path = root / f"{name}.csv"
        path.write_text(path.read_text().replace("object", "action"))
    shutil.move(root / "images/a/0_object.png", root / "images/a/0_action.png")
    index = BrodenIndex.read(root)
    assert index.labels.categories == ("color", "action", "part", "scene", "texture")
    assert BrodenDataset(index).labels(0).planes.shape == (4, 4, 6)


def test_labels_of_an_image(root: Path) -> None:
    index = BrodenIndex.read(root)
    planes, image_wide, annotated, concepts = BrodenDataset(index).labels(0)
    code = {name: c + 1 for c, name in enumerate(index.labels.names)}
    assert planes.dtype == torch.int32
    assert planes.shape == (4, 4, 6)
    assert (planes[0] == code["grey-c"]).all()
    assert (planes[1][:, :2] == code["car"]).all()
    assert planes[1][0, 5] == code["wall"]
    assert planes[1].count_nonzero() == 9
    assert planes[2].nonzero().tolist() == [[1, 0], [2, 0]]
    assert planes[3][1, 0] == code["hub"], "a number above 255 needs the second channel"
    assert image_wide.dtype == torch.int64
    assert image_wide.tolist() == [code["street-s"] - 1]
    assert annotated.tolist() == [True, True, True, True, False]
    occurring = {*planes.flatten().tolist(), *(image_wide + 1).tolist()} - {0}
    assert concepts.tolist() == sorted(code - 1 for code in occurring)


def test_image_without_masks_has_no_planes(root: Path) -> None:
    labels = BrodenDataset(BrodenIndex.read(root), "val").labels(0)
    assert labels.planes.shape == (0, 4, 6)
    assert labels.image_wide.tolist() == [6]
    assert labels.annotated.tolist() == [False, False, False, False, True]


def test_concept_in_a_plane_of_another_category_marks_its_own_as_annotated(root: Path) -> None:
    index = BrodenIndex.read(root)
    assert not index.rows[1].cells[1].filled
    annotated = BrodenDataset(index).labels(1).annotated
    assert annotated.tolist() == [False, True, True, False, False]


def test_subset_of_categories_drops_labels_and_planes(root: Path) -> None:
    index = BrodenIndex.read(root, ["scene", "part"])
    assert index.labels.categories == ("part", "scene"), "the order is that of category.csv"
    assert index.labels.names == ("wheel", "door", "street-s", "hub")
    dataset = BrodenDataset(index)
    assert dataset.labels(0).planes.shape == (2, 4, 6)
    dropped = dataset.labels(1)
    assert not dropped.planes.any(), "wall is known, but its category is not selected"
    assert dropped.annotated.tolist() == [True, False]


def test_samples_and_batches(root: Path) -> None:
    dataset = BrodenDataset(BrodenIndex.read(root), "val", pil_to_tensor)
    batch = collate([dataset[1], dataset[0]])
    assert len(dataset) == 2
    assert batch["image"].shape == (2, 3, 8, 8)
    assert batch["row"].tolist() == [3, 2]
    assert batch["row"].dtype == torch.int64
    assert [labels.planes.shape[0] for labels in batch["labels"]] == [1, 0]


def test_rows_can_be_chosen_by_position(root: Path) -> None:
    dataset = BrodenDataset(BrodenIndex.read(root), [3, 0], pil_to_tensor)
    assert [dataset[i]["row"] for i in range(2)] == [3, 0]


def test_sample_without_transform_says_so(root: Path) -> None:
    with pytest.raises(TypeError, match="transform"):
        BrodenDataset(BrodenIndex.read(root))[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_loads_alike_in_worker_processes(root: Path, workers: int) -> None:
    dataset = BrodenDataset(BrodenIndex.read(root), None, pil_to_tensor)
    context = "fork" if workers else None
    loader = torch.utils.data.DataLoader(
        dataset, 2, collate_fn=collate, num_workers=workers, multiprocessing_context=context
    )
    assert torch.cat([batch["row"] for batch in loader]).tolist() == [0, 1, 2, 3]
    assert len(pickle.loads(pickle.dumps(dataset))) == 4  # noqa: S301 - our own bytes


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_every_colour_mode_becomes_rgb(root: Path, mode: str) -> None:
    suffix = "tiff" if mode == "CMYK" else "png"
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(root / f"images/a/mode.{suffix}")
    edit(root / "index.csv", "a/0.jpg", f"a/mode.{suffix}")
    image = BrodenDataset(BrodenIndex.read(root)).image(0)
    assert image.mode == "RGB"
    assert np.asarray(image).min() > 250


def test_palette_with_transparency_raises_no_warning(root: Path) -> None:
    image = Image.new("P", (8, 8))
    image.save(root / "images/a/1.png", transparency=bytes([0, 128, 255]))
    assert BrodenDataset(BrodenIndex.read(root)).image(1).mode == "RGB"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file handles through /proc")
def test_no_file_handle_stays_open(root: Path) -> None:
    dataset = BrodenDataset(BrodenIndex.read(root))
    (root / "images/a/1.png").write_bytes(b"no image")
    before = len(os.listdir("/proc/self/fd"))
    images = [dataset.image(0), dataset.labels(0)]
    with pytest.raises(DataError):
        dataset.image(1)
    assert len(os.listdir("/proc/self/fd")) == before
    assert images


@pytest.mark.skipif(not MINI.exists(), reason="needs ../shared/broden-mini")
def test_real_data_agrees_with_its_own_counts() -> None:
    index = BrodenIndex.read(MINI)
    assert len(image_fingerprint(index)) == len(label_fingerprint(index)) == 64
    dataset = BrodenDataset(index)
    frequency = torch.zeros(len(index.labels.names) + 1, dtype=torch.int64)
    for i in range(len(dataset)):
        labels = dataset.labels(i)
        seen = torch.bincount(labels.planes.flatten(), minlength=len(frequency)).sign()
        seen[labels.image_wide + 1] = 1
        frequency += seen
    rows = [line.split(",") for line in (MINI / "label.csv").read_text().splitlines()[1:]]
    stated = {int(row[0]): int(row[3]) for row in rows}
    assert dict(zip(index.labels.numbers.tolist(), frequency[1:].tolist(), strict=True)) == stated
