"""A data set in Broden's format as shards for streaming, `python -m uibe.data.convert --root A --out B`.

The shards are plain tar files in WebDataset's convention: the members of a row of index.csv come one after
the other and share a key, the row's number (`00000012.jpg`, `00000012.object.1.png`); their bytes are those
of the files. A file that several rows use is in the shard for each of them. `shards.json` says where each
file is, so that one can be read alone. Train and val have shards of their own, so that one can be read
without the other. Converting twice gives the same bytes.
"""

import argparse
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rich.console import Console
from rich.progress import track

from uibe.data.broden import verify
from uibe.data.cache_shards import temporary_sibling
from uibe.data.index import BrodenIndex, BrodenRow
from uibe.data.shard_file import disk_errors
from uibe.data.shard_index import DIGESTS, FORMAT, INDEX_NAME, TABLES, sealed
from uibe.data.sources import FolderSource
from uibe.data.threads import in_threads
from uibe.errors import ConfigError, DataError, one_line_errors

__all__ = ["convert", "main"]

_log = logging.getLogger(__name__)

BLOCK_BYTES = 4 * 2**20
_TAR_BLOCK, _TAR_RECORD = 512, 10240


def convert(
    root: Path | str,
    out: Path | str,
    shard_megabytes: float = 1024,
    damaged: Literal["refuse", "skip"] = "refuse",
    block_bytes: int = BLOCK_BYTES,
    progress: bool = False,
) -> Path:
    """Write the shards of a data set, whole or not at all.

    Args:
        root: folder in Broden's format; every image and mask is decoded once before anything is written.
        out: folder to write; it must be empty or not exist.
        shard_megabytes: size of a shard, which is exceeded by less than a block.
        damaged: `refuse` ends at the first damaged image or mask, `skip` leaves such rows out.
        block_bytes: bytes that are read together, on average.
        progress: whether to show progress bars.

    Returns:
        `out`.

    Raises:
        DataError: a file is missing, damaged or of an unknown format, a split is empty, `out` is in use, or
            the disk is full.
        ConfigError: a number is not positive, or `damaged` is neither.

    Example:
        >>> import tempfile
        >>> from uibe.data.synthetic import render
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = render(f"{folder}/set", num_train=2, num_val=1, image_size=32, mask_size=16)
        ...     shards = convert(root, f"{folder}/shards")
        ...     sorted(path.name for path in shards.glob("*.tar"))
        ['train-00000.tar', 'val-00000.tar']
    """
    if shard_megabytes <= 0 or block_bytes <= 0:
        raise ConfigError(f"shard_megabytes: {shard_megabytes}, block_bytes: {block_bytes}; expected above 0")
    out = Path(os.path.abspath(out))  # "." has no name of its own
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: in use; choose another folder or delete this one")
    whole = BrodenIndex.read(root)
    index, complaints = verify(whole, damaged, progress)
    for complaint in complaints:
        _log.warning("skipped: %s", complaint)
    for split in ("train", "val"):
        index.split_rows(split)
    plan = _Plan.of(index, FolderSource(root), int(shard_megabytes * 2**20), block_bytes)
    with temporary_sibling(out) as temporary:
        if (free := shutil.disk_usage(temporary).free) < plan.num_bytes:
            raise DataError(
                f"{out}: {plan.num_bytes} bytes needed, {free} free: free space or choose another folder"
            )
        sound = {row.line for row in index.rows}
        skipped = [row.line for row in whole.rows if row.line not in sound]
        _write_set(plan, temporary, out, skipped, progress)
        with disk_errors(out):
            temporary.rename(out)
    return out


@dataclass(frozen=True)
class _Plan:
    """What goes where: rows of the splits, cut into blocks of whole rows, cut into shards of whole blocks."""

    index: BrodenIndex
    source: FolderSource
    num_bytes: int
    rows_per_block: int
    blocks_per_shard: int

    @classmethod
    def of(cls, index: BrodenIndex, source: FolderSource, shard_bytes: int, block_bytes: int) -> "_Plan":
        with closing(in_threads(lambda row: _row_bytes(source, row), index.rows)) as sizes:
            num_bytes = sum(sizes)
        rows_per_block = max(1, block_bytes * len(index.rows) // num_bytes)
        mean_block = num_bytes * rows_per_block // len(index.rows)
        return cls(index, source, num_bytes, rows_per_block, max(1, shard_bytes // mean_block))

    def shards(self) -> Iterator[tuple[str, list[list[tuple[int, BrodenRow]]]]]:
        """Name and blocks of each shard; a block is a list of rows with their positions in the index."""
        for split in ("train", "val"):
            numbered = [pair for pair in enumerate(self.index.rows) if pair[1].split == split]
            blocks = [
                numbered[i : i + self.rows_per_block] for i in range(0, len(numbered), self.rows_per_block)
            ]
            for number, first in enumerate(range(0, len(blocks), self.blocks_per_shard)):
                yield f"{split}-{number:05d}.tar", blocks[first : first + self.blocks_per_shard]


def _row_bytes(source: FolderSource, row: BrodenRow) -> int:
    sizes = (source.file(name).stat().st_size for name in _names(row))
    return sum(_TAR_BLOCK + size + -size % _TAR_BLOCK for size in sizes)


def _names(row: BrodenRow) -> list[str]:
    return [f"images/{name}" for name in (row.image, *(mask for cell in row.cells for mask in cell.masks))]


def _keys(number: int, row: BrodenRow, categories: Sequence[str]) -> list[str]:
    """Names of a row's files inside the shard, in the order of `_names`."""
    keys = [f"{number:08d}{_suffix(row.image)}"]
    for position, (category, cell) in enumerate(zip(categories, row.cells, strict=True)):
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", category)[:40] or str(position)
        for plane, mask in enumerate(cell.masks):
            keys.append(f"{number:08d}.{plain}.{plane}{_suffix(mask)}")
    return keys


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()[:16]


def _content(source: FolderSource, name: str) -> bytes:
    try:
        return source.read(name)
    except OSError as error:
        raise DataError(
            f"{source.place(name)}: cannot be read ({error.strerror}); restore the file"
        ) from error


@dataclass
class _Written:
    """What `shards.json` will say of the members."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    crc32: list[int] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)

    def columns(self) -> dict[str, list[Any]]:
        return {"name": self.name, "offset": self.offset, "size": self.size, "crc32": self.crc32}


def _write_set(plan: _Plan, folder: Path, out: Path, skipped: list[int], progress: bool) -> None:
    """Write shards, tables and index below `folder`, which will be `out`."""
    written = _Written()
    with closing(_shards(plan, folder, out, written)) as steps:
        for _ in track(steps, "Writing shards", len(plan.index.rows), disable=not progress, transient=True):
            pass
    files = {name: _content(plan.source, name) for name in TABLES} | {DIGESTS: bytes(written.digests)}
    record = {
        "format": FORMAT,
        "files": {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()},
        "skipped": skipped,
        "rows_per_block": plan.rows_per_block,
        "shards": written.shards,
        "members": written.columns(),
    }
    files[INDEX_NAME] = (json.dumps(sealed(record), separators=(",", ":")) + "\n").encode()
    with disk_errors(out):
        for name, data in files.items():
            (folder / name).write_bytes(data)


def _shards(plan: _Plan, folder: Path, out: Path, written: _Written) -> Generator[None]:
    """Write the shards; yields after each row."""
    for name, blocks in plan.shards():
        with disk_errors(out), open(folder / name, "wb") as file:
            tar = _TarWriter(file)
            counts = []
            for block in blocks:
                before = len(written.name)
                for number, row in block:
                    _append_row(plan, tar, number, row, written)
                    yield
                counts.append(len(written.name) - before)
            tar.finish()
        written.shards.append(
            {"name": name, "size": tar.size, "sha256": tar.digest.hexdigest(), "blocks": counts}
        )


def _append_row(plan: _Plan, tar: "_TarWriter", number: int, row: BrodenRow, written: _Written) -> None:
    for name, key in zip(_names(row), _keys(number, row, plan.index.labels.categories), strict=True):
        data = _content(plan.source, name)
        written.name.append(name)
        written.offset.append(tar.append(key, data))
        written.size.append(len(data))
        written.crc32.append(zlib.crc32(data))
        written.digests += hashlib.sha256(data).digest()


class _TarWriter:
    """Appends files to an uncompressed tar: the same for the same files, whoever writes it and when."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def append(self, name: str, data: bytes) -> int:
        """Write a member and return where its data begin."""
        header = tarfile.TarInfo(name)  # its defaults: time 0, user 0, mode 0644
        header.size = len(data)
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size
        self._write(data)
        self._write(bytes(-len(data) % _TAR_BLOCK))
        return offset

    def finish(self) -> None:
        """Write the end of the archive."""
        end = self.size + 2 * _TAR_BLOCK
        self._write(bytes(2 * _TAR_BLOCK + -end % _TAR_RECORD))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    parser = argparse.ArgumentParser(
        prog="python -m uibe.data.convert", description="Write a data set as shards for streaming."
    )
    parser.add_argument("--root", required=True, help="folder in Broden's format")
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--shard_megabytes", type=float, default=1024, help="size of a shard (%(default)s)")
    parser.add_argument(
        "--damaged", choices=("refuse", "skip"), default="refuse", help="rows with damaged files"
    )
    options = parser.parse_args(args)
    with one_line_errors():
        out = convert(options.root, options.out, options.shard_megabytes, options.damaged, progress=True)
        Console(soft_wrap=True).print(f"{len(list(out.glob('*.tar')))} shards in {out}", highlight=False)


if __name__ == "__main__":
    main()
