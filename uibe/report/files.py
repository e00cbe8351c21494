"""Files for other programs: JSON and CSV, never left half written under their final name."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uibe.errors import DataError
from uibe.files import write_whole
from uibe.metrics.dissection import Dissection

__all__ = [
    "detector_rows",
    "output_folder",
    "results_folder",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_text",
]


def output_folder(path: str | Path) -> Path:
    """Make a folder for results.

    Raises:
        DataError: if it cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"out: {folder}: cannot be made ({error.strerror}); give another --out") from error
    return folder


@contextmanager
def results_folder(path: str | Path) -> Iterator[Path]:
    """Make a folder for results; after an error, what was made and is still empty is removed again.

    Raises:
        DataError: if it cannot be made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with suppress(DataError), results_folder(Path(place, "a", "b")) as folder:
        ...         raise DataError(f"there: {folder.is_dir()}")
        ...     Path(place, "a").exists()
        False
    """
    folder = Path(path)
    missing = [each for each in (folder, *folder.parents) if not os.access(each, os.F_OK)]
    try:
        yield output_folder(folder)
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; floats keep every digit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "a.json"), {"S1": 0.1})
        ...     Path(folder, "a.json").read_text().split()
        ['{', '"S1":', '0.1', '}']
    """
    _write(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the names of the first one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def detector_rows(dissection: Dissection, concepts: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each detector: direction, label, category, IoU on both splits, threshold, firing rate.

    Args:
        dissection: labelled and scored detectors.
        concepts: names of the C concepts.
    """
    columns = (each.tolist() for each in (dissection.labels, *_figures(dissection)))
    return [
        {
            "direction": direction,
            "label": concepts[label],
            "category": dissection.category_names[int(dissection.categories[label])],
            "iou_train": iou_train,
            "iou_val": iou_val,
            "threshold": threshold,
            "firing_rate": firing_rate,
        }
        for direction, (label, iou_train, iou_val, threshold, firing_rate) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def _figures(dissection: Dissection) -> tuple[Any, ...]:
    return dissection.iou_train, dissection.iou_val, dissection.thresholds, dissection.firing_rate


def write_text(path: Path, text: str) -> None:
    """Write a text, under a temporary name first.

    Raises:
        DataError: if it cannot be written.
    """
    _write(path, text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, under a temporary name first.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another --out") from error


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode())
