"""A sharded data set as a source of files: blocks of bytes by path or URL, a bounded number in memory."""

import hashlib
import io
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from uibe.data.remote import RemoteFile, is_remote
from uibe.data.shard_index import DIGESTS, INDEX_NAME, Member, ShardIndex
from uibe.data.windows import Windows
from uibe.errors import DataError

__all__ = ["BlockCache", "ShardSource", "is_sharded"]

_REMEDY = "the shard is damaged: copy it anew, or convert the data set again"


class ShardSource:
    r"""The files of a data set that `uibe.data.convert` wrote, read when they are asked for.

    A block, the files of some rows, is read with one request, and kept until others need the memory. Files
    are checked against their CRC-32, the csv files against their SHA-256; what does not match is read a
    second time. Threads share blocks; each process has its own.

    Args:
        url: folder or URL that holds `shards.json`.
        retries: see `RemoteFile`.
        cache_bytes: memory for blocks, in each process; two blocks are kept anyway.
        pause: see `RemoteFile`.
        timeout: see `RemoteFile`.

    Attributes:
        contents: what `shards.json` says.

    Raises:
        DataError: `shards.json` cannot be read or is damaged; later: so is what was asked for.
        MismatchError: it is of another format.
        ConfigError: see `RemoteFile`.

    Example:
        >>> import tempfile
        >>> from uibe.data.convert import convert
        >>> from uibe.data.index import BrodenIndex
        >>> from uibe.data.synthetic import render
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = render(f"{folder}/set", num_train=2, num_val=1, image_size=32, mask_size=16)
        ...     source = ShardSource(str(convert(root, f"{folder}/shards")))
        ...     index = BrodenIndex.read(source)
        ...     source.read(f"images/{index.rows[0].image}")[:3]
        b'\xff\xd8\xff'
    """

    def __init__(
        self,
        url: str,
        retries: int = 5,
        cache_bytes: int = 512 * 2**20,
        pause: float = 0.5,
        timeout: float = 30.0,
    ) -> None:
        self.url = url.rstrip("/")
        self._options: dict[str, Any] = {"retries": retries, "pause": pause, "timeout": timeout}
        try:
            content = self._remote(INDEX_NAME).read()
        except DataError as error:
            raise DataError(f"{error} (expected what python -m uibe.data.convert writes)") from error
        self.contents = ShardIndex.parse(content, self.place(INDEX_NAME))
        self._num_blocks = max(2, cache_bytes // self.contents.largest_block)
        self._held = (os.getpid(), self._new_cache())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_held"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._held = (os.getpid(), self._new_cache())

    @property
    def skipped(self) -> frozenset[int]:
        """Lines of index.csv that were left out, as their files were damaged."""
        return self.contents.skipped

    def place(self, name: str = "") -> str:
        """The path or URL of a file, as if it were there by itself; of the root without a name."""
        return f"{self.url}/{name}" if name else self.url

    def file(self, name: str) -> BinaryIO:
        """A file's bytes as a stream."""
        return io.BytesIO(self.read(name))

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            DataError: there is no such file, it cannot be read, or it is damaged.
        """
        if name in self.contents.files:
            return self._table(name)
        member = self.contents.member(name)
        if member is None:
            raise DataError(f"{self.place(name)}: not in {INDEX_NAME}; convert the data set again")
        for _ in range(2):
            data = self._cache.get(member.block)[member.offset : member.offset + member.size]
            if zlib.crc32(data) == member.crc32:
                return data
            self._cache.drop(member.block)
        raise DataError(
            f"{self._shard(member)}: {name}: its CRC-32 is not that of {INDEX_NAME}, twice; {_REMEDY}"
        )

    def digest(self, name: str) -> str:
        """SHA-256 of a file as it was converted.

        Raises:
            DataError: there is no such file.
        """
        if name in self.contents.files:
            return self.contents.files[name][1]
        member = self.contents.member(name)
        if member is None:
            raise DataError(f"{self.place(name)}: not in {INDEX_NAME}; convert the data set again")
        return self._digests[32 * member.number : 32 * (member.number + 1)].hex()

    def windows(self, num_images: int) -> Windows:
        """Windows of whole blocks, as many as are kept in memory: each block is then read once a pass."""
        return Windows(num_images, 1, self.contents.rows_per_block, self._num_blocks)

    @cached_property
    def _digests(self) -> bytes:
        return self._table(DIGESTS)

    @property
    def _cache(self) -> "BlockCache":
        # a forked process must not wait for a lock that another thread of its parent held
        process, cache = self._held
        if process != os.getpid():
            cache = self._new_cache()
            self._held = (os.getpid(), cache)
        return cache

    def _new_cache(self) -> "BlockCache":
        return BlockCache(self._fetch, self._num_blocks)

    def _fetch(self, number: int) -> bytes:
        block = self.contents.blocks[number]
        return self._remote(block.shard).read(block.start, block.end)

    def _table(self, name: str) -> bytes:
        size, expected = self.contents.files[name]
        for _ in range(2):
            data = self._remote(name).read()
            if len(data) == size and hashlib.sha256(data).hexdigest() == expected:
                return data
        raise DataError(
            f"{self.place(name)}: its SHA-256 is not that of {INDEX_NAME}, twice; copy all files anew"
        )

    def _shard(self, member: Member) -> str:
        return self.place(self.contents.blocks[member.block].shard)

    def _remote(self, name: str) -> RemoteFile:
        return RemoteFile(self.place(name), **self._options)


class BlockCache:
    r"""The blocks that were used last; threads that ask for one that is on its way wait for it.

    Args:
        fetch: reads a block.
        num_blocks: how many to keep.

    Example:
        >>> cache = BlockCache(lambda number: bytes([number]), num_blocks=1)
        >>> cache.get(7), cache.get(7)
        (b'\x07', b'\x07')
    """

    def __init__(self, fetch: Callable[[int], bytes], num_blocks: int) -> None:
        self._fetch, self._num_blocks = fetch, num_blocks
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: int) -> bytes:
        """A block; what `fetch` raises is raised to all that wait for it, and forgotten."""
        with self._lock:
            known = self._blocks.get(number)
            block = self._blocks.setdefault(number, Future()) if known is None else known
            self._blocks.move_to_end(number)
            while len(self._blocks) > self._num_blocks:
                self._blocks.popitem(last=False)
        if known is None:
            try:
                block.set_result(self._fetch(number))
            except BaseException as error:
                self.drop(number)
                block.set_exception(error)
        return block.result()

    def drop(self, number: int) -> None:
        """Forget a block."""
        with self._lock:
            self._blocks.pop(number, None)


def is_sharded(root: str) -> bool:
    """Whether a path or URL is to be read as shards: nothing else can be read from a URL."""
    return is_remote(root) or (Path(root) / INDEX_NAME).is_file()
