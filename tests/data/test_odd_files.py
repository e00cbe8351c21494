"""What the fuzzer found in folders of images and masks, each find by itself."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.builders import edit
from uibe.data.broden import BrodenDataset, BrodenIndex, verify
from uibe.data.images import decode_mask, read_rgb
from uibe.data.sources import FolderSource
from uibe.errors import DataError

OBJECTS = "images/a/0_object.png"


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("change", [_pipe, _device])
@pytest.mark.parametrize("name", ["images/a/1.png", OBJECTS, "index.csv"])
def test_pipes_and_devices_are_refused_and_not_waited_for(
    broden_root: Path, change: Callable[[Path], None], name: str
) -> None:
    change(broden_root / name)
    with pytest.raises(DataError, match=Path(name).name):
        verify(BrodenIndex.read(broden_root))
    with pytest.raises(DataError, match=Path(name).name):
        FolderSource(broden_root).digest(name)


def _png(width: int, height: int) -> bytes:
    """An image of zeros, one bit a pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(height * (width // 8 + 1))))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def test_image_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(_png(10_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which users see and which does not stop it
        with pytest.raises(DataError, match=r"large\.png: .*10000 x 10000 pixels; expected at most 89478485"):
            read_rgb(tmp_path / "large.png")


def test_grey_of_16_bits_is_scaled_and_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 1000, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(read_rgb(tmp_path / "deep.png")).tolist() == [[[0] * 3, [1] * 3, [3] * 3, [255] * 3]]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_white_are_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    Image.fromarray(np.ones((2, 2), dtype)).save(tmp_path / "wide.tif")
    with pytest.raises(DataError, match=r"wide\.tif: .*32-bit"):
        read_rgb(tmp_path / "wide.tif")


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(DataError, match=r"x\.png: cannot be decoded \(cannot identify"):
        read_rgb(tmp_path / "x.png")


def _grey(numbers: np.ndarray) -> Image.Image:
    return Image.fromarray(numbers.astype(np.uint8))


def _deep(numbers: np.ndarray) -> Image.Image:
    return Image.fromarray(numbers.astype(np.uint16))


def _blue(numbers: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([numbers, 0 * numbers, numbers == 2], -1).astype(np.uint8))


@pytest.mark.parametrize("write", [_grey, _deep, _blue])
def test_masks_that_hold_numbers_in_another_way_are_refused(
    broden_root: Path, write: Callable[[np.ndarray], Image.Image]
) -> None:
    edit(broden_root / "label.csv", "300,hub", "514,hub")  # what a grey 2 would be taken for
    edit(broden_root / "index.csv", ";a/0_part_2.png", "")
    write(np.full((4, 6), 2)).save(broden_root / OBJECTS)
    dataset = BrodenDataset(BrodenIndex.read(broden_root))
    with pytest.raises(DataError, match=r"0_object\.png \(from .*index\.csv, line 2\): .*R \+ 256 G"):
        dataset.labels(0)


def test_palette_and_alpha_of_masks_change_nothing(broden_root: Path) -> None:
    path = broden_root / OBJECTS
    expected = np.asarray(decode_mask(path, "mask"))
    with Image.open(path) as image:
        image.load()
    image.quantize(8).save(path)
    assert np.array_equal(np.asarray(decode_mask(path, "mask")), expected)
    image.putalpha(7)
    image.save(path)
    assert np.array_equal(np.asarray(decode_mask(path, "mask")), expected)


CSV: dict[str, tuple[str, str, str, str]] = {
    "a column twice": (
        "index.csv",
        ",texture\n",
        ",texture,object\n",
        "column object is there more than once",
    ),
    "a line feed in a path": ("index.csv", "b/2.jpg", '"b/2\n.jpg"', "with a control character"),
    "an escape in a name": ("label.csv", "car", "c\x1b[31mar", "with a control character"),
    "a count of 5000 digits": ("label.csv", "object(2)", f"object({'9' * 5000})", r"expected NAME\(COUNT\)"),
    "a mask of any size": (
        "index.csv",
        "val,8,8,4,6,,,,,7",
        "val,8,8,99999,99999,,,,,7",
        "99999 x 99999; exp",
    ),
}


@pytest.mark.parametrize("case", CSV)
def test_odd_tables_are_refused(broden_root: Path, case: str) -> None:
    name, old, new, mention = CSV[case]
    edit(broden_root / name, old, new)
    if case == "a column twice":
        path = broden_root / name
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *(f"{line}," for line in lines)]))
    with pytest.raises(DataError, match=f"{name}, line .*{mention}"):
        BrodenIndex.read(broden_root)
