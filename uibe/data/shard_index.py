"""`shards.json`: which bytes of which shard every file of a sharded data set is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from uibe.data.tables import CONTROL
from uibe.errors import DataError, MismatchError

__all__ = ["DIGESTS", "FORMAT", "INDEX_NAME", "TABLES", "Member", "ShardIndex", "sealed"]

FORMAT = 1  # raise it when shards change: older ones are then refused, not misread
INDEX_NAME = "shards.json"
TABLES = ("index.csv", "label.csv", "category.csv")
DIGESTS = "digests.bin"  # 32 bytes a member: of no use to most runs, and nothing that text makes smaller

_REMEDY = "convert the data set again (python -m uibe.data.convert), or copy it anew"

Column = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Member(NamedTuple):
    """A file inside a shard: its number, its block, its offset there, its size and its CRC-32."""

    number: int
    block: int
    offset: int
    size: int
    crc32: int


class Block(NamedTuple):
    """Consecutive bytes of one shard that are read together: the files of some rows of index.csv."""

    shard: str
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """The content of `shards.json`.

    Attributes:
        files: (size, SHA-256) of the files beside the shards, by name.
        skipped: lines of index.csv that were left out, as their files were damaged.
        rows_per_block: rows of index.csv whose files make a block; the last block of a split has fewer.
        blocks: all blocks, shard after shard.
        numbers: a member's number by its name.
        columns: per member: its block, its offset in the shard, its size, its CRC-32.
    """

    files: Mapping[str, tuple[int, str]]
    skipped: frozenset[int]
    rows_per_block: int
    blocks: tuple[Block, ...]
    numbers: Mapping[str, int]
    columns: tuple[Column, Column, Column, Column]

    @classmethod
    def parse(cls, content: bytes, place: str) -> "ShardIndex":
        """Read and check the file.

        Args:
            content: what the file holds.
            place: what messages call it.

        Raises:
            MismatchError: it is of another format.
            DataError: it is damaged, contradicts itself or names a file outside the data set.
        """
        try:
            record = json.loads(content)
            if record["format"] != FORMAT:
                raise MismatchError(
                    f"{place}: format {record['format']!r}; this code reads {FORMAT}: {_REMEDY}"
                )
            if record.get("sha256", _digest(record)) != _digest(record):  # the first shards had none
                raise ValueError("its SHA-256 is not the one that it states")
            return _parsed(record)
        except MismatchError:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise DataError(f"{place}: damaged ({type(error).__name__}: {error}); {_REMEDY}") from error

    def member(self, name: str) -> Member | None:
        """Where a file is; None if it is in no shard."""
        number = self.numbers.get(name)
        if number is None:
            return None
        block, offset, size, crc32 = (int(column[number]) for column in self.columns)
        return Member(number, block, offset - self.blocks[block].start, size, crc32)

    @property
    def largest_block(self) -> int:
        """Bytes of the largest block."""
        return max(block.end - block.start for block in self.blocks)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `shards.json` with a checksum of all of it.

    Example:
        >>> list(sealed({"format": 1}))
        ['format', 'sha256']
    """
    return {**record, "sha256": _digest(record)}


def _digest(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, separators=(",", ":")).encode()).hexdigest()


def _parsed(record: Mapping[str, Any]) -> ShardIndex:
    files = {str(name): (int(size), str(digest)) for name, (size, digest) in record["files"].items()}
    if missing := {*TABLES, DIGESTS} - files.keys():
        raise ValueError(f"files: no {', '.join(sorted(missing))}")
    rows_per_block = record["rows_per_block"]
    if not isinstance(rows_per_block, int) or rows_per_block < 1:
        raise ValueError(f"rows_per_block: {rows_per_block!r}")
    names = [_inside(name) for name in record["members"]["name"]]
    offset, size, crc32 = (_column(record["members"], key, len(names)) for key in ("offset", "size", "crc32"))
    counts = np.asarray([count for shard in record["shards"] for count in shard["blocks"]])
    if counts.dtype.kind != "i" or counts.min() < 1 or counts.sum() != len(names):
        raise ValueError("blocks: not as many members as are named")
    block_of = np.repeat(np.arange(len(counts)), counts)
    blocks = _blocks(record["shards"], counts, offset, offset + size)
    # the first use of a file that several rows share
    numbers = {name: number for number, name in reversed(list(enumerate(names)))}
    skipped = frozenset(int(line) for line in record["skipped"])
    return ShardIndex(files, skipped, rows_per_block, blocks, numbers, (block_of, offset, size, crc32))


def _blocks(
    shards: list[Mapping[str, Any]], counts: Column, begins: Column, ends: Column
) -> tuple[Block, ...]:
    """Where each block is, checked against the size of its shard and the order of its members."""
    lasts = np.cumsum(counts)
    places = iter(zip((lasts - counts).tolist(), lasts.tolist(), strict=True))
    blocks = []
    for shard in shards:
        name, position = _inside(shard["name"]), 0
        for _ in shard["blocks"]:
            first, last = next(places)
            block = Block(name, int(begins[first]), int(ends[last - 1]))
            inner = (begins[first:last], ends[first:last])
            if block.start < position or (inner[0] < block.start).any() or (inner[1] > block.end).any():
                raise ValueError(f"{name}: its members are not one after the other")
            position = block.end
            blocks.append(block)
        if position > int(shard["size"]):
            raise ValueError(f"{name}: its members go beyond its {shard['size']} bytes")
    return tuple(blocks)


def _column(members: Mapping[str, Any], key: str, length: int) -> Column:
    column = np.asarray(members[key])
    if column.shape != (length,) or column.dtype.kind != "i" or column.min() < 0:
        raise ValueError(f"members.{key}: expected {length} whole numbers")
    return column.astype(np.int64)


def _inside(name: object) -> str:
    """A name that stays inside the data set on every operating system and server."""
    if not isinstance(name, str):
        raise TypeError(f"name {name!r}: expected text")
    # Windows' rules are the stricter ones: they also know drives, and both kinds of slash
    path = PureWindowsPath(name)
    odd = "://" in name or CONTROL.search(name) is not None
    if not path.parts or path.anchor or ".." in path.parts or odd:
        raise ValueError(f"name {name!r}: expected a path inside the data set")
    return name
