"""The csv files of a data set in Broden's format, read and checked; no image or mask is opened here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.data.sources import FolderSource, Source
from uibe.data.tables import read_table
from uibe.errors import ConfigError, DataError, printable

__all__ = ["BrodenIndex", "BrodenRow", "Cell", "LabelTable"]

_SPLITS = ("train", "val")
_SIZES = ("ih", "iw", "sh", "sw")
_MAX_NUMBER = 0xFFFF  # a mask stores a number in two bytes
_UNKNOWN = -1
_WHOLE = re.compile(r"[0-9]{1,9}")
_SHARE = re.compile(r"(.+)\(([0-9]{1,18})\)")
_MAX_MASK = 2**24  # pixels: the labels of one image are held in memory several times over


class Cell(NamedTuple):
    """One category's annotation of one image.

    Attributes:
        masks: mask paths relative to `images/`, one per plane.
        concepts: concepts of the whole image, as indices into the label table.
        filled: whether the cell of index.csv holds anything at all.
    """

    masks: tuple[str, ...]
    concepts: tuple[int, ...]
    filled: bool


class BrodenRow(NamedTuple):
    """One image of index.csv.

    Attributes:
        line: line of index.csv that holds it, counted from 1.
        image: path relative to `images/`.
        split: `train` or `val`.
        image_size: height and width that index.csv states for the image.
        mask_size: height and width of every mask of the row.
        cells: one cell per category, in the order of `LabelTable.categories`.
    """

    line: int
    image: str
    split: str
    image_size: tuple[int, int]
    mask_size: tuple[int, int]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The concepts: the labels of the selected categories, in order of their number.

    A label that occurs in several categories belongs to the one with the largest count in label.csv
    (the first of equals).

    Attributes:
        numbers: shape (C,), int64, the number that stands in the masks for each concept.
        names: C names.
        category: shape (C,), int64, each concept's position in `categories`.
        categories: K names.
        codes: shape (65536,), int32, turns a label number into a code: c + 1 for concept c, 0 for
            "unlabelled" and for labels of categories that were not selected, -1 for unknown numbers.
    """

    numbers: Tensor
    names: tuple[str, ...]
    category: Tensor
    categories: tuple[str, ...]
    codes: Tensor


@dataclass(frozen=True, eq=False)
class BrodenIndex:
    """Which images a data set in Broden's format has, how they are split and where their labels are.

    Attributes:
        source: where index.csv, label.csv, category.csv and the files of `images/` are read from.
        rows: the images in the order of index.csv.
        labels: the concepts.
    """

    source: Source
    rows: tuple[BrodenRow, ...]
    labels: LabelTable

    @classmethod
    def read(cls, root: Path | str | Source, categories: Sequence[str] | None = None) -> "BrodenIndex":
        """Read and check the csv files below `root`.

        Args:
            root: folder of the data set, or another source of its files.
            categories: categories to use, all of category.csv by default. Columns of the others are not
                read and their labels are left out of the table, also where they stand in a mask of a
                selected category (they read as unlabelled there).

        Raises:
            DataError: a file is missing or malformed; the message names the file and the line.
            ConfigError: `categories` is empty or names one that the data set has not.

        Example:
            >>> BrodenIndex.read("nowhere")
            Traceback (most recent call last):
                ...
            uibe.errors.DataError: nowhere: no such folder; expected a data set in Broden's format ...
        """
        source = _folder(Path(root)) if isinstance(root, Path | str) else root
        known = _read_categories(source)
        labels = _read_labels(source, known, _select(known, categories, source.place()))
        rows = tuple(row for row in _read_rows(source, labels) if row.line not in source.skipped)
        if not rows:
            raise DataError(f"{source.place('index.csv')}: no rows below the header; expected one per image")
        return cls(source, rows, labels)

    def split_rows(self, split: str) -> tuple[int, ...]:
        """Positions in `rows` of the images of one split, ascending.

        Args:
            split: `train` or `val`.

        Raises:
            ConfigError: there is no split of that name.
            DataError: the split has no images.
        """
        if split not in _SPLITS:
            raise ConfigError(f"split {split!r}: expected one of {', '.join(_SPLITS)}")
        positions = tuple(i for i, row in enumerate(self.rows) if row.split == split)
        if not positions:
            raise DataError(
                f"{self.source.place('index.csv')}: no row has split {split!r}; "
                f"mark some images {split!r} there"
            )
        return positions


def _folder(root: Path) -> FolderSource:
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; expected a data set in Broden's format "
            "(index.csv, label.csv, category.csv, images/): correct the path"
        )
    return FolderSource(root)


def _read_categories(source: Source) -> tuple[str, ...]:
    """Names of category.csv."""
    names: list[str] = []
    for where, _, row in read_table(source, "category.csv", ["name"]):
        if not row["name"] or row["name"] in names:
            raise DataError(f"{where}: category name {row['name']!r} is empty or repeated; name each once")
        if row["name"] != printable(row["name"]):
            raise DataError(f"{where}: category name {row['name']!r} has control characters; rename it")
        names.append(row["name"])
    if not names:
        raise DataError(
            f"{source.place('category.csv')}: no rows below the header; expected one per category"
        )
    return tuple(names)


def _select(known: Sequence[str], wanted: Sequence[str] | None, root: str) -> tuple[str, ...]:
    """The categories to use, in the order of category.csv."""
    if wanted is None:
        return tuple(known)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        asked = ", ".join(unknown) or "none"
        raise ConfigError(f"categories: {asked}; expected some of those of {root}: {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _read_labels(source: Source, known: Sequence[str], selected: Sequence[str]) -> LabelTable:
    """The concepts of label.csv whose category is selected."""
    owners: dict[int, tuple[str, str]] = {}
    for where, _, row in read_table(source, "label.csv", ["number", "name", "category"]):
        number = _positive(where, "number", row["number"])
        if number > _MAX_NUMBER or number in owners:
            raise DataError(f"{where}: label number {number} is repeated or above {_MAX_NUMBER}")
        owners[number] = (printable(row["name"]), _main_category(where, row["category"], known))
    kept = sorted(number for number, (_, owner) in owners.items() if owner in selected)
    if not kept:
        raise DataError(
            f"{source.place('label.csv')}: no label belongs to {', '.join(selected)}; select other categories"
        )
    codes = torch.full((_MAX_NUMBER + 1,), _UNKNOWN, dtype=torch.int32)
    codes[[0, *owners]] = 0
    codes[kept] = torch.arange(1, len(kept) + 1, dtype=torch.int32)
    return LabelTable(
        numbers=torch.tensor(kept),
        names=tuple(owners[number][0] for number in kept),
        category=torch.tensor([selected.index(owners[number][1]) for number in kept]),
        categories=tuple(selected),
        codes=codes,
    )


def _main_category(where: str, field: str, known: Sequence[str]) -> str:
    """The category with the largest count in a field like `object(4743);part(29)`."""
    counts: dict[str, int] = {}
    for token in field.split(";"):
        match = _SHARE.fullmatch(token)
        if match is None or match[1] not in known:
            raise DataError(
                f"{where}: category {token!r}; expected NAME(COUNT) with a name of category.csv "
                f"({', '.join(known)})"
            )
        counts.setdefault(match[1], int(match[2]))
    return max(counts, key=lambda name: counts[name])


def _read_rows(source: Source, labels: LabelTable) -> Iterator[BrodenRow]:
    """The images of index.csv."""
    codes: list[int] = labels.codes.tolist()
    columns = ["image", "split", *_SIZES, *labels.categories]
    for where, line, row in read_table(source, "index.csv", columns):
        if row["split"] not in _SPLITS:
            raise DataError(f"{where}: split {row['split']!r}; expected train or val")
        ih, iw, sh, sw = (_positive(where, name, row[name]) for name in _SIZES)
        if sh * sw > _MAX_MASK:
            raise DataError(f"{where}: sh x sw is {sh} x {sw}; expected at most {_MAX_MASK} pixels in all")
        image = _inside(where, "image", row["image"])
        cells = _read_cells(where, row, labels.categories, codes)
        yield BrodenRow(line, image, row["split"], (ih, iw), (sh, sw), cells)


def _read_cells(
    where: str, row: Mapping[str, str], categories: Sequence[str], codes: Sequence[int]
) -> tuple[Cell, ...]:
    """One cell per category: tokens of digits are labels of the whole image, the others mask paths."""
    cells = []
    for name in categories:
        tokens = [token for token in row[name].split(";") if token]
        numbers = [token for token in tokens if _WHOLE.fullmatch(token)]
        masks = tuple(_inside(where, name, token) for token in tokens if token not in numbers)
        concepts = {_code(where, name, int(number), codes) - 1 for number in numbers} - {-1}
        cells.append(Cell(masks, tuple(sorted(concepts)), bool(tokens)))
    return tuple(cells)


def _code(where: str, column: str, number: int, codes: Sequence[int]) -> int:
    """The code of an image-wide label."""
    if not 0 < number <= _MAX_NUMBER or codes[number] == _UNKNOWN:
        raise DataError(f"{where}: {column} has label number {number}, which label.csv does not list; add it")
    return codes[number]


def _positive(where: str, column: str, text: str) -> int:
    """The positive whole number of a field."""
    if not (_WHOLE.fullmatch(text) and int(text)):
        raise DataError(f"{where}: {column} is {text!r}; expected a whole number above 0")
    return int(text)


def _inside(where: str, column: str, token: str) -> str:
    """A path that stays inside `images/` on every operating system."""
    # Windows' rules are the stricter ones: they also know drives, and both kinds of slash.
    path = PureWindowsPath(token)
    if not path.parts or path.anchor or ".." in path.parts:
        raise DataError(f"{where}: {column} is {token!r}; expected a path relative to images/ and inside it")
    return token
