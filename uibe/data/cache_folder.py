"""One cache folder on disk: its key, its meta data and how its images are divided into files.

The folder `<digest>/` holds `meta.json` and the shards `features-00000.npy`, `features-00001.npy`, ..., or,
as written by earlier versions, a single `features.npy`. A folder under its final name is complete.
`uibe.data.cache` is the way to use all this.
"""

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uibe.errors import ConfigError, MismatchError

__all__ = [
    "CHECK",
    "DTYPES",
    "META_NAME",
    "REMEDY",
    "CacheKey",
    "Layout",
    "differences",
    "meta_text",
    "read_meta",
]

META_NAME = "meta.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

CHECK = np.dtype("<u4")  # one for each image, after all images of a shard

_ONE_FILE, _UNCHECKED, _SHARDS = (
    1,
    2,
    3,
)  # formats of the folder; a new one gets a new number, so that none is misread
REMEDY = "delete the folder and rerun the command that filled it"
_SHARD_BYTES = 2**30
_MANY = 64  # shards of a large set: enough to share them out evenly, and to lose little when killed
_GRAIN = 64  # a multiple of the usual batch sizes, so that batches end where shards do


class CacheKey(Mapping[str, str]):
    """Everything that the cached features depend on, as named string parts.

    Args:
        **parts: such as `weights_sha256`, `layer`, `preprocessing`, `images` (a fingerprint of the image
            list); `dtype` is required: the storage type, "float32", "float16" or "bfloat16".

    Raises:
        ConfigError: `dtype` is missing or unknown, or a part is not a non-empty string.

    Example:
        >>> key = CacheKey(weights_sha256="5c10", layer="features.7", dtype="float16")
        >>> key["layer"], len(key.digest)
        ('features.7', 20)
        >>> key == CacheKey(dtype="float16", layer="features.7", weights_sha256="5c10")
        True
    """

    def __init__(self, /, **parts: str) -> None:
        for name, value in parts.items():
            if not isinstance(value, str) or not value:
                raise ConfigError(f"cache key part {name!r} must be a non-empty string, got {value!r}")
        if parts.get("dtype") not in DTYPES:
            known = ", ".join(DTYPES)
            raise ConfigError(f"cache key part 'dtype' must be one of {known}, got {parts.get('dtype')!r}")
        self._parts = parts

    def __getitem__(self, name: str) -> str:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"CacheKey({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    @property
    def digest(self) -> str:
        """First 20 hex digits of the SHA-256 of the parts as canonical JSON: the folder's name."""
        canonical = json.dumps(self._parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Name the parts in which two keys differ; empty if they are equal.

    Example:
        >>> differences({"layer": "a", "dtype": "float32"}, {"layer": "b", "dtype": "float32"})
        ["layer='a' instead of 'b'"]
    """
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return [f"{name}={found.get(name)!r} instead of {wanted.get(name)!r}" for name in names]


@dataclass(frozen=True)
class Layout:
    """How the features of N images lie in files.

    Attributes:
        shape: (N, H, W, D).
        dtype: the storage type.
        images_per_shard: images of each file; the last one has what is left.
        file_bytes: size of each file.
        one_file: whether it is the single file of the first format.
        checked: whether each file ends with a CRC-32 of every image, as it does from the third format on.
    """

    shape: tuple[int, int, int, int]
    dtype: str
    images_per_shard: int
    file_bytes: tuple[int, ...]
    one_file: bool = False
    checked: bool = True

    @classmethod
    def plan(
        cls, shape: tuple[int, int, int, int], dtype: str, images_per_shard: int | None = None
    ) -> "Layout":
        """Divide N images by their number and size alone, never by how many processes there are.

        Args:
            shape: (N, H, W, D), all at least 1.
            dtype: the storage type.
            images_per_shard: by default a multiple of 64, so that a large set has some 64 shards and none
                takes more than 1 GB.

        Raises:
            ConfigError: `images_per_shard` is less than 1.

        Example:
            >>> Layout.plan((300, 7, 7, 320), "float32").num_shards
            5
        """
        if images_per_shard is not None and images_per_shard < 1:
            raise ConfigError(f"images_per_shard: expected at least 1, got {images_per_shard}")
        size = math.prod(shape[1:]) * DTYPES[dtype].itemsize
        layout = cls(shape, dtype, images_per_shard or _images_per_shard(shape[0], size), ())
        shards = range(-(-shape[0] // layout.images_per_shard))
        sizes = (
            len(layout.header(shard)) + len(layout.rows(shard)) * (size + CHECK.itemsize) for shard in shards
        )
        return cls(shape, dtype, layout.images_per_shard, tuple(sizes))

    @property
    def num_shards(self) -> int:
        """Number of files."""
        return len(self.file_bytes)

    @property
    def image_bytes(self) -> int:
        """Size of one image's features on disk, bytes."""
        return math.prod(self.shape[1:]) * DTYPES[self.dtype].itemsize

    def rows(self, shard: int) -> range:
        """The images of a file."""
        start = shard * self.images_per_shard
        return range(start, min(start + self.images_per_shard, self.shape[0]))

    def name(self, shard: int) -> str:
        """The name of a file."""
        return "features.npy" if self.one_file else f"features-{shard:05d}.npy"

    def start(self, shard: int) -> int:
        """Bytes before the first image of a file."""
        each = self.image_bytes + (CHECK.itemsize if self.checked else 0)
        return self.file_bytes[shard] - len(self.rows(shard)) * each

    def header(self, shard: int) -> bytes:
        """What a file begins with, as NumPy writes it."""
        # NumPy has no bfloat16: its bits are stored, and the key says what they mean
        stored = torch.uint16 if self.dtype == "bfloat16" else DTYPES[self.dtype]
        descr = np.dtype(str(stored).removeprefix("torch.")).str
        shape = (len(self.rows(shard)), *self.shape[1:])
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        return header.getvalue()


def meta_text(key: CacheKey, layout: Layout) -> str:
    """The content of a folder's `meta.json`."""
    meta = {
        "format": _SHARDS,
        "key": dict(sorted(key.items())),
        "shape": layout.shape,
        "images_per_shard": layout.images_per_shard,
        "bytes": layout.file_bytes,
    }
    return json.dumps(meta, indent=1)


def read_meta(path: Path) -> tuple[dict[str, str], Layout]:
    """Read the key and the layout of the cache folder `path` and check that all files are there.

    Raises:
        MismatchError: the meta data is damaged or of another version, or a file is missing or not of the
            size or shape that the meta data says.
    """
    try:
        meta = json.loads((path / META_NAME).read_text(encoding="utf-8"))
        version, key = meta["format"], dict(meta["key"])
        if version in (_ONE_FILE, _UNCHECKED, _SHARDS):
            layout = _layout(meta, key["dtype"], version)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise MismatchError(f"{path / META_NAME}: missing or damaged; {REMEDY}") from error
    if version not in (_ONE_FILE, _UNCHECKED, _SHARDS):
        known = f"this code reads {_ONE_FILE} to {_SHARDS}"
        raise MismatchError(f"{path / META_NAME}: format {version!r}, {known}; {REMEDY}")
    for shard in range(layout.num_shards):
        _check_file(path / layout.name(shard), layout, shard)
    return key, layout


def _check_file(file: Path, layout: Layout, shard: int) -> None:
    expected = layout.file_bytes[shard]
    found = file.stat().st_size if file.is_file() else 0
    if found != expected:
        raise MismatchError(f"{file}: {found} bytes, {META_NAME} says {expected}; {REMEDY}")
    header = b"" if layout.one_file else layout.header(shard)  # the first format's may be longer
    with file.open("rb") as content:
        if content.read(len(header)) != header:
            raise MismatchError(f"{file}: not of the shape and type that {META_NAME} says; {REMEDY}")


def _layout(meta: Mapping[str, Any], dtype: str, version: int) -> Layout:
    """The layout that meta data describes; errors of any kind if it does not describe one."""
    one_file = version == _ONE_FILE
    num_images, height, width, num_features = map(int, meta["shape"])
    sizes = [meta["bytes"]] if one_file else meta["bytes"]
    file_bytes = tuple(map(int, sizes))
    images_per_shard = num_images if one_file else int(meta["images_per_shard"])
    shape = (num_images, height, width, num_features)
    layout = Layout(shape, dtype, images_per_shard, file_bytes, one_file, version == _SHARDS)
    if min(shape) < 1 or layout.num_shards != -(-num_images // images_per_shard) or layout.start(0) < 0:
        raise ValueError("the sizes contradict each other")
    return layout


def _images_per_shard(num_images: int, image_bytes: int) -> int:
    fitting = max(1, _SHARD_BYTES // image_bytes)
    wanted = -(-num_images // (_MANY * _GRAIN)) * _GRAIN
    return min(wanted, fitting // _GRAIN * _GRAIN or fitting)
