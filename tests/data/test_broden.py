"""Data sets in Broden's format: what is read, what is refused, and with which words."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from tests.data.builders import edit, write_broden, write_mask
from uibe.data.broden import (
    BrodenDataset,
    BrodenIndex,
    collate,
    image_fingerprint,
    label_fingerprint,
    verify,
)
from uibe.errors import ConfigError, DataError

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


INDEX_FAULTS = [
    ("a/1.png,train", "a/1.png,test", "split 'test'; expected train or val"),
    ("a/1.png,train,8,8", "a/1.png,train,8,x", "iw is 'x'; expected a whole number"),
    ("a/1.png,train,8,8,4", "a/1.png,train,8,8,0", "sh is '0'; expected a whole number"),
    ("a/1.png,train,8,8,4", "a/1.png,train,8,8,-4", "sh is '-4'"),
    ("a/1.png,train,8,8,4", "a/1.png,train,8,8,4.0", "sh is '4.0'"),
    ("a/1.png,train,8,8,4", f"a/1.png,train,8,8,{'9' * 5000}", "sh is '999"),
    ("a/1.png,", "../secret.png,", "image is '../secret.png'; expected a path relative to images/"),
    ("a/1.png,", "/etc/secret.png,", "image is '/etc/secret.png'"),
    ("a/1.png,", "C:secret.png,", "image is 'C:secret.png'"),
    ("a/1.png,", ",", "image is ''"),
    ("a/1_part.png", "a/../../1_part.png", "part is 'a/../../1_part.png'"),
    ("a/1_part.png", r"..\1_part.png", "part is"),
    ("a/1_part.png", "77", "part has label number 77, which label.csv does not list"),
    ("a/1_part.png", "0", "part has label number 0"),
    ("a/1_part.png", "70000", "part has label number 70000"),
    ("a/1_part.png,,", "a/1_part.png,", "10 fields; expected 11"),
]


@pytest.mark.parametrize(("old", "new", "message"), INDEX_FAULTS)
def test_faulty_row_is_named_by_file_and_line(root: Path, old: str, new: str, message: str) -> None:
    edit(root / "index.csv", old, new)
    with pytest.raises(DataError) as caught:
        BrodenIndex.read(root)
    assert f"{root / 'index.csv'}, line 3: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


LABEL_FAULTS = [
    ("label", "2,car,", "two,car,", "line 3: number is 'two'"),
    ("label", "2,car,", "1,car,", "line 3: label number 1 is repeated"),
    ("label", "2,car,", "65536,car,", "line 3: label number 65536"),
    ("label", "object(2)", "object", "line 3: category 'object'; expected NAME(COUNT)"),
    ("label", "object(2)", "thing(2)", "line 3: category 'thing(2)'"),
    ("label", "2,car", '2,"car', "not valid csv"),
    ("category", "object", "color", "line 3: category name 'color' is empty or repeated"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), LABEL_FAULTS)
def test_faulty_label_or_category_is_named(root: Path, name: str, old: str, new: str, message: str) -> None:
    edit(root / f"{name}.csv", old, new)
    with pytest.raises(DataError) as caught:
        BrodenIndex.read(root)
    assert str(root / f"{name}.csv") in str(caught.value)
    assert message in str(caught.value)


def test_line_number_counts_lines_within_quotes(root: Path) -> None:
    edit(root / "label.csv", "2,car,object(2),2,0.5,", '2,car,object(2),2,0.5,"auto\nmobile"')
    edit(root / "label.csv", "wheel,part(2)", "wheel,part(x)")
    with pytest.raises(DataError, match=r"label\.csv, line 6: category 'part\(x\)'"):
        BrodenIndex.read(root)


@pytest.mark.parametrize("name", ["index", "label", "category"])
def test_missing_csv_is_named(root: Path, name: str) -> None:
    (root / f"{name}.csv").unlink()
    with pytest.raises(DataError, match=rf"{name}\.csv: no such file"):
        BrodenIndex.read(root)


@pytest.mark.parametrize("name", ["index", "label", "category"])
def test_csv_that_is_no_text_is_named(root: Path, name: str) -> None:
    (root / f"{name}.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=rf"{name}\.csv: cannot be read as UTF-8"):
        BrodenIndex.read(root)


@pytest.mark.parametrize("name", ["index", "label", "category"])
def test_csv_without_rows_is_named(root: Path, name: str) -> None:
    path = root / f"{name}.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=rf"{name}\.csv: no "):
        BrodenIndex.read(root)


@pytest.mark.parametrize("column", ["image", "split", "ih", "iw", "sh", "sw", "part"])
def test_missing_column_is_named(root: Path, column: str) -> None:
    edit(root / "index.csv", column, "renamed")
    with pytest.raises(DataError, match=rf"index\.csv, line 1: no column {column}"):
        BrodenIndex.read(root)


def test_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        BrodenIndex.read(tmp_path / "nowhere")


@pytest.mark.parametrize("categories", [["objects"], []])
def test_unknown_category_lists_the_known_ones(root: Path, categories: list[str]) -> None:
    with pytest.raises(ConfigError, match="color, object, part, scene, texture"):
        BrodenIndex.read(root, categories)


def test_empty_split_is_named(root: Path) -> None:
    path = root / "index.csv"
    path.write_text(path.read_text().replace(",val,", ",train,"))
    with pytest.raises(DataError, match=r"index\.csv: no row has split 'val'"):
        BrodenIndex.read(root).split_rows("val")
    with pytest.raises(ConfigError, match="train, val"):
        BrodenIndex.read(root).split_rows("test")


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
