"""Faults of the csv files of a data set in Broden's format are named by file and line."""

from pathlib import Path

import pytest

from tests.data.builders import edit, write_broden
from uibe.data.broden import BrodenIndex
from uibe.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_broden(tmp_path / "broden")


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
