"""The rendered data set: its format, its determinism and its counts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from uibe.data import synthetic
from uibe.data.broden import BrodenDataset, BrodenIndex, ImageLabels, verify
from uibe.data.synthetic import render
from uibe.data.synthetic_labels import CATEGORIES, NUMBERS, color_names
from uibe.errors import ConfigError, DataError

SMALL = {"image_size": 32, "mask_size": 16}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(
        tmp_path_factory.mktemp("synthetic") / "set", num_train=60, num_val=20, image_size=64, mask_size=32
    )


def _contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_set_is_sound_and_complete(root: Path) -> None:
    index, messages = verify(BrodenIndex.read(root))
    assert messages == []
    assert index.labels.categories == tuple(CATEGORIES)
    assert (len(index.split_rows("train")), len(index.split_rows("val"))) == (60, 20)
    assert {row.image_size for row in index.rows} == {(64, 64)}
    assert {row.mask_size for row in index.rows} == {(32, 32)}


def test_images_differ_in_what_is_annotated_and_parts_have_two_planes(root: Path) -> None:
    index = BrodenIndex.read(root)
    assert len({tuple(cell.filled for cell in row.cells) for row in index.rows}) >= 5
    part = index.labels.categories.index("part")
    assert max(len(row.cells[part].masks) for row in index.rows) == 2


def _parts_and_objects(
    index: BrodenIndex, labels: ImageLabels, row: int
) -> tuple[torch.Tensor, torch.Tensor]:
    kinds = [k for k, cell in enumerate(index.rows[row].cells) for _ in cell.masks]
    names = index.labels.categories
    return (
        labels.planes[[i for i, k in enumerate(kinds) if names[k] == "part"]],
        labels.planes[[i for i, k in enumerate(kinds) if names[k] == "object"]],
    )


def test_every_part_lies_on_an_object(root: Path) -> None:
    index = BrodenIndex.read(root)
    dataset = BrodenDataset(index)
    seen = 0
    for i in range(len(dataset)):
        parts, objects = _parts_and_objects(index, dataset.labels(i), i)
        for part in parts:
            seen += 1
            assert (objects[0][part > 0] > 0).all()
    assert seen > 30


def test_counts_of_label_csv_are_true(root: Path) -> None:
    index = BrodenIndex.read(root)
    dataset = BrodenDataset(index)
    C = len(index.labels.names)
    frequency, coverage = torch.zeros(C, dtype=torch.int64), torch.zeros(C, dtype=torch.float64)
    for i in range(len(dataset)):
        labels = dataset.labels(i)
        for c in {*(labels.planes.flatten().unique() - 1).tolist(), *labels.image_wide.tolist()} - {-1}:
            whole = c in labels.image_wide
            frequency[c] += 1
            coverage[c] += 1.0 if whole else (labels.planes == c + 1).any(0).double().mean()
    rows = [line.split(",") for line in (root / "label.csv").read_text().splitlines()[1:]]
    assert [int(row[3]) for row in rows] == frequency.tolist()
    np.testing.assert_allclose([float(row[4]) for row in rows], coverage.numpy(), atol=1e-6)


def test_label_numbers_run_from_one_without_gaps(root: Path) -> None:
    assert BrodenIndex.read(root).labels.numbers.tolist() == list(range(1, len(NUMBERS) + 1))


def test_category_files_agree_with_each_other(root: Path) -> None:
    for line in (root / "category.csv").read_text().splitlines()[1:]:
        name, first, last, count, frequency = line.split(",")
        rows = [row.split(",") for row in (root / f"c_{name}.csv").read_text().splitlines()[1:]]
        numbers = [int(row[1]) for row in rows]
        assert (min(numbers), max(numbers), len(numbers)) == (int(first), int(last), int(count))
        assert sum(int(row[3]) for row in rows) == int(frequency)
        assert [row[0] for row in rows] == [str(code) for code in range(1, len(rows) + 1)]


def test_same_parameters_give_the_same_bytes(tmp_path: Path) -> None:
    first = render(tmp_path / "first", num_train=6, num_val=3, **SMALL)
    second = render(tmp_path / "second", num_train=6, num_val=3, **SMALL)
    assert _contents(first) == _contents(second)


def test_larger_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small = _contents(render(tmp_path / "small", num_train=4, num_val=2, **SMALL) / "images")
    large = _contents(render(tmp_path / "large", num_train=9, num_val=5, **SMALL) / "images")
    assert {name: large[name] for name in small} == small


def test_seed_and_split_change_the_images(tmp_path: Path) -> None:
    one = _contents(render(tmp_path / "one", num_train=5, num_val=5, seed=1, **SMALL) / "images")
    two = _contents(render(tmp_path / "two", num_train=5, num_val=5, seed=2, **SMALL) / "images")
    pictures = [data for files in (one, two) for name, data in files.items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 20


def test_finished_set_is_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = render(tmp_path / "set", num_train=2, num_val=1, **SMALL)
    monkeypatch.setattr(synthetic, "_write_set", lambda *_: pytest.fail("rendered again"))
    assert render(root, num_train=2, num_val=1, **SMALL) == root


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    root = render(tmp_path / "set", num_train=2, num_val=1, **SMALL)
    with pytest.raises(DataError, match="choose another folder or delete this one"):
        render(root, num_train=3, num_val=1, **SMALL)


def test_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"no readable synthetic\.json"):
        render(tmp_path, num_train=2, num_val=1, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_interrupted_rendering_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_develop", interrupt)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "set", num_train=2, num_val=1, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_second_of_two_processes_takes_the_set_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = synthetic._write_set

    def overtaken(partial: Path, record: dict[str, int], progress: bool) -> None:
        write(partial, record, progress)
        if not (tmp_path / "set").exists():
            write(tmp_path / "set", record, progress)

    monkeypatch.setattr(synthetic, "_write_set", overtaken)
    root = render(tmp_path / "set", num_train=2, num_val=1, **SMALL)
    assert list(tmp_path.iterdir()) == [root]
    assert len(BrodenIndex.read(root).rows) == 3


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        render(tmp_path / "file" / "set", num_train=2, num_val=1, **SMALL)


@pytest.mark.parametrize(
    ("name", "value"), [("num_train", 0), ("num_val", -1), ("image_size", 8), ("mask_size", 99), ("seed", -1)]
)
def test_parameter_out_of_range_is_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=name):
        render(tmp_path / "set", **{"image_size": 32, "mask_size": 16, name: value})


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"), ((255, 140, 0), "orange"), ((240, 230, 20), "yellow"), ((20, 160, 40), "green"),
        ((30, 60, 220), "blue"), ((120, 30, 180), "purple"), ((255, 150, 170), "pink"),
        ((110, 70, 40), "brown"), ((5, 5, 5), "black"), ((128, 128, 128), "grey"), ((250, 250, 250), "white"),
    ],
)  # fmt: skip
def test_colours_have_the_names_that_people_give_them(rgb: tuple[int, int, int], name: str) -> None:
    assert (color_names(Image.new("RGB", (4, 4), rgb), 2) == NUMBERS[f"{name}-c"]).all()
