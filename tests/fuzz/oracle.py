"""A data set in Broden's format read in the most obvious way, for comparison."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["OracleRow", "OracleSet", "files_of", "picture", "read_set", "read_table"]


class OracleRow(NamedTuple):
    """One image: its path, split, `(planes, sh, sw)` codes, image-wide concepts, annotated categories."""

    image: Path
    split: str
    planes: npt.NDArray[Any]
    image_wide: list[int]
    annotated: list[bool]


class OracleSet(NamedTuple):
    """Rows and concepts: names, and the category of each as a position in `categories`."""

    rows: list[OracleRow]
    names: list[str]
    category: list[int]
    categories: list[str]


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a csv file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def files_of(images: Path, row: dict[str, str]) -> list[Path]:
    """Image and masks that a row of index.csv names; their names have a dot, image-wide labels none."""
    names = [name for cell in row.values() for name in cell.split(";") if "." in name]
    return [images / name for name in names]


def _owner(field: str) -> str:
    shares = [token[:-1].rsplit("(", 1) for token in field.split(";")]
    largest = max(int(count) for _, count in shares)
    return next(name for name, count in shares if int(count) == largest)


def picture(path: Path) -> Image.Image:
    """The image in RGB; 65535 of 16 bits a sample is white."""
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
        return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")


def read_set(root: Path, kept: Collection[int]) -> OracleSet:
    """Read all of a folder but the rows of index.csv, counted from 0, that were left out."""
    categories = [row["name"] for row in read_table(root / "category.csv")]
    owners = {
        int(row["number"]): (row["name"], _owner(row["category"])) for row in read_table(root / "label.csv")
    }
    numbers = sorted(owners)
    code = {number: position + 1 for position, number in enumerate(numbers)} | {0: 0}
    category = [categories.index(owners[number][1]) for number in numbers]
    rows = [
        _row(root / "images", row, categories, code, category)
        for number, row in enumerate(read_table(root / "index.csv"))
        if number in kept
    ]
    return OracleSet(rows, [owners[number][0] for number in numbers], category, categories)


def _row(
    images: Path, row: dict[str, str], categories: list[str], code: dict[int, int], category: list[int]
) -> OracleRow:
    planes, image_wide = [], []
    annotated = [False] * len(categories)
    for position, name in enumerate(categories):
        for token in filter(None, row[name].split(";")):
            annotated[position] = True
            if token.isdecimal():
                image_wide.append(code[int(token)] - 1)
            else:
                red, green, _ = np.moveaxis(np.asarray(picture(images / token)).astype(int), 2, 0)
                planes.append(np.vectorize(code.__getitem__)(red + 256 * green))
    size = (int(row["sh"]), int(row["sw"]))
    stacked = np.stack(planes) if planes else np.zeros((0, *size), int)
    for concept in {*image_wide, *(int(value) - 1 for value in np.unique(stacked) if value)}:
        annotated[category[concept]] = True
    return OracleRow(images / row["image"], row["split"], stacked, sorted(set(image_wide)), annotated)
