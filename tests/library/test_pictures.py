"""Images of any kind become the same picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from uibe.errors import DataError
from uibe.library.pictures import pictures

BYTES = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        Image.fromarray(BYTES),
        Image.fromarray(BYTES).convert("RGBA"),
        BYTES,
        BYTES[None],
        BYTES.astype(np.float32) / 255,
        BYTES / 255,
        torch.from_numpy(BYTES).permute(2, 0, 1),
        torch.from_numpy(BYTES).permute(2, 0, 1)[None] / 255,
        (torch.from_numpy(BYTES).permute(2, 0, 1) / 255).double().requires_grad_(),
        np.concatenate([BYTES, np.full((5, 7, 1), 9, np.uint8)], 2),
        torch.from_numpy(np.concatenate([BYTES, BYTES[..., :1]], 2)).permute(2, 0, 1),
        torch.from_numpy(BYTES).permute(2, 0, 1).half() / 255,
        BYTES[:, ::-1][:, ::-1],
        [BYTES],
        (Image.fromarray(BYTES),),
    ],
)
def test_all_kinds_give_one_picture(images: object) -> None:
    (picture,) = pictures(images)  # type: ignore[arg-type]
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), BYTES)


def test_lists_may_be_mixed_and_of_several_sizes() -> None:
    found = pictures([BYTES, Image.new("L", (2, 3)), torch.zeros(2, 3, 4, 6)])
    assert [picture.size for picture in found] == [(7, 5), (2, 3), (6, 4), (6, 4)]


def test_values_that_round_to_a_byte_are_taken() -> None:
    # resizing and float32 leave images a little outside of [0, 1]
    outside = np.array([[[-0.4, 0.0, 255.4]]]) / 255
    assert np.asarray(pictures(outside)[0]).tolist() == [[[0, 0, 255]]]
    for wrong in (-0.6, 255.6):
        with pytest.raises(DataError, match=r"in \[0, 1\], got"):
            pictures(np.full((1, 1, 3), wrong / 255))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            np.zeros((3, 5, 7), np.uint8),
            r"expected an array \(H, W, C\) .* got \(3, 5, 7\): channels come last",
        ),
        (torch.zeros(5, 7, 3), r"expected a tensor \(C, H, W\) .* got \(5, 7, 3\): channels come first"),
        (torch.zeros(2, 5, 4, 4), "1, 3 or 4 channels"),
        (torch.zeros(()), "expected a tensor"),
        (np.full((4, 4, 3), 7.0), r"in \[0, 1\], got 7 to 7: divide by 255"),
        (np.linspace(-2, 1, 48).reshape(4, 4, 3), r"got -2 to 1"),
        (np.full((4, 4, 3), np.nan), "NaN or infinite"),
        (torch.full((3, 4, 4), float("inf")), "NaN or infinite"),
        (np.zeros((4, 4, 3), np.int64), "expected uint8, .* got int64"),
        (np.zeros((4, 4, 3), np.bool_), "got bool"),
        (np.zeros((4, 4, 3), np.complex64), "got complex64"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((0, 4, 4, 3), np.uint8), "at least one image"),
        (Image.new("RGB", (0, 4)), "at least one pixel, got 0 x 4"),
        (Image.new("F", (4, 4)), "mode 'F' has no range"),
        ([], "the list is empty"),
        (5, "got a int"),
        ({"a": BYTES}, "got a dict"),
        (b"bytes", "got a bytes"),
        ([BYTES, "nowhere.png"], r"nowhere.png \(from images\[1\]\): no such file"),
        ([BYTES, [BYTES, BYTES.astype(np.int16)]], r"images\[1\]\[1\]: expected uint8"),
    ],
)
def test_anything_else_is_refused(images: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pictures(images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "images",
    [
        Image.fromarray(BYTES[..., 0]),
        BYTES[..., 0],
        BYTES[..., :1],
        BYTES[None, ..., :1],
        torch.from_numpy(BYTES[..., 0]),
        torch.from_numpy(BYTES[None, ..., 0]) / 255,
        Image.merge("LA", (Image.fromarray(BYTES[..., 0]), Image.fromarray(BYTES[..., 1]))),
        Image.fromarray(BYTES[..., 0].astype(np.uint16) * 257),
    ],
)
def test_grey_is_grey_in_all_channels(images: object) -> None:
    (picture,) = pictures(images)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(picture), np.repeat(BYTES[..., :1], 3, 2))


def test_colour_modes_are_converted() -> None:
    cyan = Image.new("CMYK", (3, 2), (255, 0, 0, 0))
    palette = Image.fromarray(np.uint8([[1, 0, 1]]), "P")
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.info["transparency"] = b"\x00\xff"  # Pillow would warn, and warnings are errors here
    black_and_white = Image.new("1", (2, 2), 1)
    found = pictures([cyan, palette, black_and_white])
    assert [picture.getpixel((0, 0)) for picture in found] == [(0, 255, 255), (10, 20, 30), (255, 255, 255)]


def _orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize(("number", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_photographs_are_turned_upright(number: int, turns: int, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(BYTES).save(path, exif=_orientation(number))
    with Image.open(path) as opened:
        for found in (pictures(path), pictures(str(path)), pictures(opened)):
            np.testing.assert_array_equal(np.asarray(found[0]), np.rot90(BYTES, turns))
            (again,) = pictures(found)
            assert again.size == found[0].size


def test_files_are_read_and_mixed(tmp_path: Path) -> None:
    Image.fromarray(BYTES).save(tmp_path / "a.png")
    found = pictures([str(tmp_path / "a.png"), BYTES, tmp_path / "a.png"])
    assert all(np.array_equal(np.asarray(picture), BYTES) for picture in found)


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    Image.effect_noise((64, 64), 90).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:600])
    for name in ("text.jpg", "half.jpg", "gone.jpg"):
        with pytest.raises(DataError, match=rf"{name} \(from images\[0\]\): "):
            pictures([tmp_path / name])
    with Image.open(tmp_path / "half.jpg") as half, pytest.raises(DataError, match="cannot be decoded"):
        pictures(half)
    with pytest.raises(DataError, match="is a folder; expected an image"):
        pictures(tmp_path)
