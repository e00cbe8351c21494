"""One cache folder on disk: its key, its meta data and how it is written whole or not at all.

The folder `<digest>/` holds `features.npy` and `meta.json`. Everything is written to a hidden sibling
folder that is renamed when complete, so a folder under its final name is never half written. A process
that is killed outright (SIGKILL) may leave its `.<digest>.*.tmp` behind: never read, safe to delete.
`uibe.data.cache` is the way to use all this.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uibe.errors import ConfigError, DataError, MismatchError

__all__ = [
    "ARRAY_NAME",
    "DTYPES",
    "CacheKey",
    "differences",
    "disk_errors",
    "read_meta",
    "temporary_sibling",
    "write_folder",
]

ARRAY_NAME = "features.npy"
META_NAME = "meta.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_FORMAT = 1  # raise it when the layout of the folder changes: older caches are then refused, not misread
_REMEDY = "delete the folder and rerun the command that filled it"


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


def read_meta(path: Path) -> tuple[dict[str, str], tuple[int, int, int, int]]:
    """Read the key and the shape (N, H, W, D) of the cache folder `path` and check the array's size.

    Raises:
        MismatchError: the meta data is damaged or of another version, or the array is not of the size
            that the meta data says.
    """
    try:
        meta = json.loads((path / META_NAME).read_text(encoding="utf-8"))
        version, key, num_bytes = meta["format"], dict(meta["key"]), int(meta["bytes"])
        num_images, height, width, num_features = map(int, meta["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MismatchError(f"{path / META_NAME}: missing or damaged; {_REMEDY}") from error
    if version != _FORMAT:
        raise MismatchError(f"{path / META_NAME}: format {version!r}, this code reads {_FORMAT}; {_REMEDY}")
    array = path / ARRAY_NAME
    found = array.stat().st_size if array.is_file() else 0
    if found != num_bytes:
        raise MismatchError(f"{array}: {found} bytes, {META_NAME} says {num_bytes}; {_REMEDY}")
    return key, (num_images, height, width, num_features)


def write_folder(path: Path, key: CacheKey, num_images: int, batches: Iterable[Tensor]) -> None:
    """Write all batches in one pass and publish them under `path`, unless another process was faster.

    Args:
        path: the folder to create; its parents are created too.
        key: stored beside the features; its `dtype` is the storage type.
        num_images: N, how many images the batches hold together.
        batches: features (n, D, H, W) of any floating type and device, in the order of the images.

    Raises:
        DataError: see `uibe.data.cache.fill`.
    """
    with temporary_sibling(path) as temporary:
        with open(temporary / ARRAY_NAME, "wb", buffering=0) as file:
            writer = _ArrayWriter(file, path, num_images, DTYPES[key["dtype"]])
            for batch in batches:
                writer.append(batch)
            shape = writer.finish()
            num_bytes = file.tell()
        meta = {"format": _FORMAT, "key": dict(key), "shape": shape, "bytes": num_bytes}
        with disk_errors(path):
            _write_synced(temporary / META_NAME, json.dumps(meta, indent=1).encode())
            _publish(temporary, path)


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """Make a folder on the same file system as `path`, removed in the end unless it was renamed."""
    # Not tempfile.mkdtemp: its folders are closed to everyone else, also after the renaming.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(path: Path, num_bytes: int = 0) -> Iterator[None]:
    """Say in one line that `path`, of so many bytes, cannot be written."""
    try:
        yield
    except OSError as error:
        need = f" ({num_bytes} bytes needed)" if num_bytes else ""
        raise DataError(
            f"{path}: cannot be written{need}: {error.strerror or error}; free space or choose another folder"
        ) from error


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():  # otherwise another process filled the same key meanwhile: its folder stays
            raise


class _ArrayWriter:
    """Appends batches to a `.npy` file as (N, H, W, D); the shape is known from the first batch on."""

    def __init__(self, file: io.FileIO, path: Path, num_images: int, dtype: torch.dtype) -> None:
        self._file = file
        self._path = path
        self._num_images = num_images
        self._dtype = dtype
        self._written = 0
        self._sizes: tuple[int, ...] = ()  # (D, H, W)
        self._num_bytes = 0

    def append(self, batch: Tensor) -> None:
        features = batch.detach().to("cpu", torch.float32)
        if not self._sizes:
            self._begin(features)
        if features.shape[1:] != self._sizes:
            raise DataError(
                f"{self._path}: a batch is {tuple(features.shape)}, the first one was (n, D, H, W) with "
                f"(D, H, W) = {self._sizes}: give all images the same size"
            )
        if self._written + len(features) > self._num_images:
            raise DataError(
                f"{self._path}: more than the {self._num_images} images announced: "
                "check that the batches and the image list are of the same data"
            )
        if not len(features):
            return
        pixels = features.permute(0, 2, 3, 1).contiguous()
        # rounding is monotonic: if the extremes can be stored, so can all that lies between
        if not torch.stack(pixels.aminmax()).to(self._dtype).isfinite().all():
            self._refuse(features)
        self._write(pixels.to(self._dtype).flatten().view(torch.uint8).numpy().data)
        self._written += len(features)

    def finish(self) -> tuple[int, ...]:
        """Check the count, force the data to disk and return (N, H, W, D)."""
        if self._written != self._num_images or not self._sizes:
            raise DataError(
                f"{self._path}: {self._written} images came, {self._num_images} were announced: "
                "check that the batches and the image list are of the same data"
            )
        with disk_errors(self._path, self._num_bytes):
            os.fsync(self._file.fileno())
        return self._shape()

    def _begin(self, features: Tensor) -> None:
        if features.dim() != 4 or 0 in features.shape:
            raise DataError(f"{self._path}: expected a batch (n, D, H, W), got {tuple(features.shape)}")
        self._sizes = tuple(features.shape[1:])
        self._num_bytes = math.prod(self._shape()) * self._dtype.itemsize
        free = shutil.disk_usage(self._path.parent).free
        if free < self._num_bytes:
            raise DataError(
                f"{self._path.parent}: {self._num_bytes} bytes needed, {free} free: "
                "free space or choose another folder"
            )
        header = io.BytesIO()
        # NumPy has no bfloat16: its bits are stored, and the key says what they mean
        stored = torch.uint16 if self._dtype == torch.bfloat16 else self._dtype
        descr = np.dtype(str(stored).removeprefix("torch.")).str
        np.lib.format.write_array_header_1_0(
            header, {"descr": descr, "fortran_order": False, "shape": self._shape()}
        )
        self._write(header.getbuffer())

    def _shape(self) -> tuple[int, ...]:
        num_features, *feature_size = self._sizes
        return (self._num_images, *feature_size, num_features)

    def _refuse(self, features: Tensor) -> None:
        bad = ~torch.isfinite(features)
        remedy = "check the image and the weights" if bad.any() else 'use dtype "float32"'
        if not bad.any():
            bad = ~torch.isfinite(features.to(self._dtype))
        row, channel, y, x = bad.nonzero()[0].tolist()
        value = float(features[row, channel, y, x])
        raise DataError(
            f"{self._path}: image row {self._written + row}, channel {channel} has the value {value:g}, "
            f"which {self._dtype} cannot store: {remedy}"
        )

    def _write(self, data: memoryview) -> None:
        # Unbuffered, so that a full disk shows here and not while closing; a raw write may be partial.
        with disk_errors(self._path, self._num_bytes):
            while data:
                data = data[self._file.write(data) :]
