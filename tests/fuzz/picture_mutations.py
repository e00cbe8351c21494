"""Mutations of the images and masks of a folder in Broden's format."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz.folders import MASK_SIZE, read_csv, write_csv
from tests.fuzz.harness import Mutation

__all__ = ["PICTURE_MUTATIONS"]

Change = Callable[[Path, Random], object]


def _named(root: Path, masks: bool) -> list[str]:
    rows = read_csv(root / "index.csv")
    places = [place for place, name in enumerate(rows[0]) if (name in ("object", "part")) == masks]
    if not masks:
        places = [rows[0].index("image")] if "image" in rows[0] else []
    names = [
        name for row in rows[1:] for place in places if place < len(row) for name in row[place].split(";")
    ]
    return [name for name in names if "." in name and (root / "images" / name).is_file()]


def _on(change: Change, masks: bool | None = None) -> Callable[[Path, Random], Sequence[str]]:
    """A mutation of one file, of any sort if that is not said."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        names = _named(root, draw.random() < 0.5 if masks is None else masks)
        if not names:
            return []
        path = root / "images" / draw.choice(names)
        change(path, draw)
        return [path.name]  # without its folder: a later change may give it another beginning

    return apply


def _flip(path: Path, draw: Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 5)):
        content[draw.randrange(min(len(content), 200) if draw.random() < 0.5 else len(content))] = (
            draw.randrange(256)
        )
    path.write_bytes(bytes(content))


def _truncate(path: Path, draw: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(1, len(content))])


def _link(target: str) -> Change:
    def change(path: Path, draw: Random) -> None:
        path.unlink()
        path.symlink_to(target.format(name=path.name))

    return change


def _moved(path: Path, draw: Random) -> None:
    """The file elsewhere, and a link to it in its place."""
    kept = path.parents[2] / f"kept-{draw.randrange(10**6)}{path.suffix}"
    path.rename(kept)
    path.symlink_to(kept if draw.random() < 0.5 else os.path.relpath(kept, path.parent))


def _folder(path: Path, draw: Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, draw: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _resaved(mode: str, form: str, **options: object) -> Change:
    """The picture in another mode and format under the same name."""

    def change(path: Path, draw: Random) -> None:
        picture = Image.open(path).convert("RGB").convert(mode)
        picture.save(path, form, **options)

    return change


def _turned(path: Path, draw: Random) -> None:
    """The camera was held upright: stored pixels stay what they are."""
    picture = Image.open(path).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = draw.randint(2, 8)
    picture.save(path, draw.choice(["JPEG", "PNG"]), exif=exif)


def _animated(path: Path, draw: Random) -> None:
    first = Image.open(path).convert("RGB")
    form = draw.choice(["GIF", "PNG", "TIFF", "WEBP"])
    others = [Image.new("RGB", first.size, color) for color in ("red", "blue")]
    first.save(path, form, save_all=True, append_images=others)


def _sixteen_bits(path: Path, draw: Random) -> None:
    height, width = draw.randint(3, 9), draw.randint(3, 9)
    values = np.array([draw.randrange(65536) for _ in range(height * width)], np.uint16)
    Image.fromarray(values.reshape(height, width)).save(path, draw.choice(["PNG", "TIFF"]))


def _wide_values(path: Path, draw: Random) -> None:
    dtype = draw.choice([np.int32, np.float32])
    Image.fromarray(np.full((4, 5), 1000, dtype)).save(path, "TIFF")


def _numbers(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(np.int64)
    return rgb[..., 0] + 256 * rgb[..., 1]


def _grey_mask(path: Path, draw: Random) -> None:
    """Label numbers as grey values, as other data sets store them."""
    values = np.maximum(_numbers(path), 1) % 256
    kind = draw.choice([np.uint8, np.uint16])
    Image.fromarray(values.astype(kind)).save(path)


def _bits_mask(path: Path, draw: Random) -> None:
    Image.fromarray(np.eye(*MASK_SIZE, dtype=bool)).save(path)


def _palette_mask(path: Path, draw: Random) -> None:
    """The same colours by way of a palette."""
    Image.open(path).convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE).save(path)


def _clear_mask(path: Path, draw: Random) -> None:
    picture = Image.open(path).convert("RGB")
    picture.putalpha(draw.randrange(256))
    picture.save(path)


def _blue_mask(path: Path, draw: Random) -> None:
    rgb = np.array(Image.open(path).convert("RGB"))
    rgb[draw.randrange(rgb.shape[0]), draw.randrange(rgb.shape[1]), 2] = draw.randint(1, 255)
    Image.fromarray(rgb).save(path)


def _odd_number(path: Path, draw: Random) -> None:
    rgb = np.array(Image.open(path).convert("RGB"))
    rgb[draw.randrange(rgb.shape[0]), draw.randrange(rgb.shape[1]), :2] = draw.randrange(256), 7
    Image.fromarray(rgb).save(path)


def _other_size(path: Path, draw: Random) -> None:
    width, height = draw.choice([(6, 5), (4, 6), (1, 1), (12, 8)])
    Image.open(path).resize((width, height), Image.Resampling.NEAREST).save(path)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


_ZEROS = zlib.compress(bytes(10_000 * 1_251))


def _huge(path: Path, draw: Random) -> None:
    """A few bytes that would be an image of 300 MB, or of any size."""
    if draw.random() < 0.5:
        path.write_bytes(_png(10_000, 10_000, _ZEROS))
    else:
        path.write_bytes(_png(draw.choice([10**5, 2**31 - 1]), draw.choice([10**5, 2**31 - 1]), b""))


def _odd_chunk(path: Path, draw: Random) -> None:
    picture = io.BytesIO()
    Image.open(path).convert("RGB").save(picture, "PNG")
    content = picture.getvalue()
    name = draw.choice(
        [b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"PLTE", b"acTL", b"eXIf", b"pHYs", b"IHDR", b"sBIT"]
    )
    data = draw.randbytes(draw.choice([0, 1, 4, 6, 9, 13]))
    path.write_bytes(content[:33] + _chunk(name, data) + content[33:])


def _foreign(path: Path, draw: Random) -> None:
    """Something else under the name of a picture."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n%%EOF\n"
    path.write_bytes(
        draw.choice([b"text", b"\n" * 99, b"GIF89a", b"P6 4 4 255\n", b"P6 99999 99999 255\n", eps])
    )


def _renamed(path: Path, draw: Random) -> None:
    stem = draw.choice(
        ["café", "with space", " lead", "日本", "a,b", "q'uote", "100%", "é" * 40, "-rf", "#1", "a(b)"]
    )
    new = f"{stem}-{path.name}" if stem != " lead" else f"x {path.name}"
    rows = read_csv(path.parents[2] / "index.csv")
    old = f"{path.parent.name}/{path.name}"
    other = f"{path.parent.name}/{new}"
    for row in rows[1:]:
        row[:] = [";".join(other if name == old else name for name in cell.split(";")) for cell in row]
    path.rename(path.with_name(new))
    write_csv(path.parents[2] / "index.csv", rows)


_FILES: list[tuple[str, str, Change]] = [
    ("no file", "refused", lambda path, draw: path.unlink()),
    ("an empty file", "refused", lambda path, draw: path.write_bytes(b"")),
    ("bytes of a picture", "either", _flip),
    ("a picture cut off", "either", _truncate),
    ("a link to itself", "refused", _link("{name}")),
    ("a link to nothing", "refused", _link("nowhere.png")),
    ("a link to a device", "refused", _link("/dev/zero")),
    ("a link to the file elsewhere", "accepted", _moved),
    ("a folder for a file", "refused", _folder),
    ("a pipe for a file", "refused", _pipe),
    ("a picture of huge size", "refused", _huge),
    ("something else for a picture", "refused", _foreign),
    ("one more PNG chunk", "either", _odd_chunk),
    ("another name", "accepted", _renamed),
]
_IMAGES: list[tuple[str, str, Change]] = [
    ("a palette image", "accepted", _resaved("P", "PNG")),
    ("a palette image with one clear colour", "accepted", _resaved("P", "PNG", transparency=3)),
    ("a grey image", "accepted", _resaved("L", "PNG")),
    ("a grey image with alpha", "accepted", _resaved("LA", "PNG")),
    ("a black and white image", "accepted", _resaved("1", "PNG")),
    ("an image with alpha", "accepted", _resaved("RGBA", "PNG")),
    ("a CMYK image", "accepted", _resaved("CMYK", "JPEG")),
    ("a CMYK image in TIFF", "accepted", _resaved("CMYK", "TIFF")),
    ("a YCbCr image", "accepted", _resaved("YCbCr", "JPEG", progressive=True)),
    ("a LAB image", "either", _resaved("LAB", "TIFF")),
    ("a compressed TIFF", "accepted", _resaved("RGB", "TIFF", compression="tiff_lzw")),
    ("a bitmap", "accepted", _resaved("RGB", "BMP")),
    ("a WebP image", "accepted", _resaved("RGB", "WEBP")),
    ("an EXIF-rotated image", "accepted", _turned),
    ("an animated image", "accepted", _animated),
    ("a 16-bit image", "accepted", _sixteen_bits),
    ("an image of wide values", "refused", _wide_values),
]
_MASKS: list[tuple[str, str, Change]] = [
    ("a grey mask", "refused", _grey_mask),
    ("a mask of bits", "refused", _bits_mask),
    ("a palette mask", "accepted", _palette_mask),
    ("a mask with alpha", "accepted", _clear_mask),
    ("a mask with blue", "refused", _blue_mask),
    ("a 16-bit mask", "refused", _sixteen_bits),
    ("a CMYK mask", "refused", _resaved("CMYK", "TIFF")),
    ("an animated mask", "either", _animated),
    ("a label number that does not exist", "refused", _odd_number),
    ("a mask of another size", "refused", _other_size),
]

PICTURE_MUTATIONS = [
    Mutation(name, verdict, _on(change, masks))
    for masks, table in ((None, _FILES), (False, _IMAGES), (True, _MASKS))
    for name, verdict, change in table
]
