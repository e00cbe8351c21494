"""Images and archives that are far larger than they look, or something else than they are called."""

import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.data.builders import edit
from tests.running import broden, quick, run_train
from uibe.data.archive import unpack
from uibe.data.broden import BrodenDataset
from uibe.data.images import read_rgb
from uibe.data.index import BrodenIndex
from uibe.errors import DataError

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 9
%%EndComments
(x) (w) file
%%EOF
"""


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A grey PNG file of one byte a pixel, all black; no pixels at all if they are very many."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((width + 1) * height)) if width * height < 10**6 else zlib.compress(bytes(99))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")])


BOMBS = {
    "more pixels than memory": png(60_000, 60_000),
    "a side that overflows": png(2**31 - 1, 1),
    "a text that swells": png(8, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**24), 9))),
    "many texts that swell": png(8, 8, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20)))] * 80),
    "no pixels": png(8, 0),
    "postscript": POSTSCRIPT,
}


def test_the_maker_of_images_makes_sound_ones(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(9, 5, chunk(b"tEXt", b"k\0short")))
    assert read_rgb(tmp_path / "a.png").size == (9, 5)


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", ["b/2.jpg", "a/1_part.png"])
def test_bombs_are_damaged_images(bomb: str, name: str, broden_root: Path, tmp_path: Path) -> None:
    path = broden_root / "images" / name
    path.write_bytes(BOMBS[bomb])
    with pytest.raises(DataError, match=r"cannot be decoded"):
        read_rgb(path)
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert f"{path}" in line
    assert "cannot be decoded" in line
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("width", "height"), [(9_459, 9_460), (10_000, 10_000), (13_400, 13_433)])
def test_images_above_the_limit_are_refused_by_their_header(
    width: int, height: int, broden_root: Path, tmp_path: Path
) -> None:
    path = broden_root / "images" / "b" / "2.jpg"
    path.write_bytes(png(width, height))  # of which Pillow warns up to 179 megapixels, and opens it
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: {path} (from ")
    few = f"{width} x {height} pixels; expected at most 89478485" in line
    assert few or f"{width * height} pixels) exceeds limit of 178956970" in line


def test_images_up_to_the_limit_are_decoded(broden_root: Path) -> None:
    path = broden_root / "images" / "b" / "2.jpg"
    path.write_bytes(png(9_459, 9_459))
    with pytest.raises(DataError, match="truncated"):  # it is begun, and has no pixels here
        read_rgb(path)


def test_no_interpreter_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gs", "ps2pdf"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.jpg").write_bytes(POSTSCRIPT)
    with Image.open(tmp_path / "a.jpg") as picture, pytest.raises(OSError, match=r"."):
        picture.load()
    assert (tmp_path / "ran").exists()  # it is what Pillow does by itself
    (tmp_path / "ran").unlink()
    with pytest.raises(DataError, match=r"cannot be decoded"):
        read_rgb(tmp_path / "a.jpg")
    assert not (tmp_path / "ran").exists()


def test_index_that_claims_huge_masks_is_one_line(broden_root: Path, tmp_path: Path) -> None:
    text = (broden_root / "index.csv").read_text()
    (broden_root / "index.csv").write_text(text.replace(",4,6,", ",2000000000,2000000000,"))
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert "2000000000" in line or "memory" in line


@pytest.mark.parametrize(
    "token", ["..", "a/../../x.png", "/etc/passwd", "C:x.png", "..\\x.png", "\\\\host\\x"]
)
def test_index_cannot_leave_its_images(token: str, broden_root: Path) -> None:
    edit(broden_root / "index.csv", "a/1_part.png", token)
    with pytest.raises(DataError, match=r"index\.csv, line 3: part is"):
        BrodenIndex.read(broden_root)


def test_link_to_a_secret_shows_nothing_of_it(broden_root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the password is 1234")
    path = broden_root / "images" / "a" / "1.png"
    path.unlink()
    path.symlink_to(secret)
    images = BrodenDataset(BrodenIndex.read(broden_root), transform=lambda image: torch.zeros(1))
    with pytest.raises(DataError, match=r"a/1\.png .*cannot be decoded") as caught:
        images[1]
    assert "1234" not in str(caught.value)


def test_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", bytes(2**24))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for start, offset in ((0, 22), (data.index(b"PK\x01\x02"), 24)):  # local header, central directory
        data[start + offset : start + offset + 4] = struct.pack("<I", 100)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"not a whole zip file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_zip_whose_files_overlap_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("kernel", bytes(2**20))
        first = file.infolist()[0]
        for number in range(1000):
            twin = zipfile.ZipInfo(f"file{number}")
            for name in ("header_offset", "compress_type", "compress_size", "file_size", "CRC", "flag_bits"):
                setattr(twin, name, getattr(first, name))
            file.filelist.append(twin)
            file.NameToInfo[twin.filename] = twin
    with pytest.raises(DataError, match=r"more than 100 times|not a whole zip file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
