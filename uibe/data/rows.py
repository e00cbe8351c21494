"""Plain reads of equal rows from a file: nothing mapped, nothing kept open."""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from uibe.errors import MismatchError

__all__ = ["RowFile", "RowFiles", "Stamp", "stamp_of"]

Stamp = tuple[int, int]
"""Size and time of the last change of a file, bytes and nanoseconds."""

_REMEDY = "rerun, which fills the cache anew if it must; let no other program touch its folder"


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does.

    Raises:
        OSError: there is no such file.
    """
    return _stamp(path.stat())


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class RowFile:
    """A file of equal rows after a header.

    It is opened for each read: an open file would share its position with forked worker processes.

    Attributes:
        path: the file.
        start: bytes before the first row.
        row_bytes: bytes of a row.
        stamp: from `stamp_of`, when the file was known to be good; None to take it as it is.
    """

    path: Path
    start: int
    row_bytes: int
    stamp: Stamp | None = None

    @classmethod
    def open_npy(cls, path: Path, row_bytes: int) -> Self:
        """The rows of a `.npy` file, after its header."""
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return cls(path, file.tell(), row_bytes)

    @contextlib.contextmanager
    def opened(self) -> Iterator[io.FileIO]:
        """The file, as it was when it was known to be good.

        Raises:
            MismatchError: it is gone or was changed.
        """
        try:
            file = io.FileIO(self.path)
        except OSError as error:
            raise MismatchError(f"{self.path}: {error.strerror}, gone while in use; {_REMEDY}") from error
        with file:
            found = _stamp(os.fstat(file.fileno()))
            if self.stamp is not None and found != self.stamp:
                how = "shorter than it was" if found[0] < self.stamp[0] else "changed while in use"
                raise MismatchError(f"{self.path}: {how}; {_REMEDY}")
            yield file

    def read_into(self, room: Tensor, places: Tensor, rows: Tensor) -> None:
        """Read rows into places of a tensor, one read for each run of consecutive rows and places.

        Args:
            room: `(m, ...)`, contiguous, `row_bytes` an entry; changed at `places`.
            places: `(n,)` int64 entries of `room`.
            rows: `(n,)` int64, which row goes to each place; in any order.

        Raises:
            MismatchError: the file is gone or was changed, or ends before a row does.
        """
        view = room.flatten(1).view(torch.uint8).numpy()
        with self.opened() as file:
            for begin, end in _runs(places, rows):
                place, row = int(places[begin]), int(rows[begin])
                file.seek(self.start + row * self.row_bytes)
                part = view[place : place + end - begin].data.cast("B")
                # a raw read may stop early, at 2 GB for one
                while part:
                    done = file.readinto(part)
                    if not done:
                        raise MismatchError(f"{self.path}: shorter than it was; delete the folder and rerun")
                    part = part[done:]

    def advise(self, rows: Tensor) -> None:
        """Tell the operating system, where it listens, that these rows will be read soon."""
        if not hasattr(os, "posix_fadvise"):
            return
        with self.opened() as file:
            for begin, end in _runs(rows):
                start = self.start + int(rows[begin]) * self.row_bytes
                length = (end - begin) * self.row_bytes
                os.posix_fadvise(file.fileno(), start, length, os.POSIX_FADV_WILLNEED)


@dataclass(frozen=True)
class RowFiles:
    """Equal rows divided over files: as many in each, what is left in the last.

    Attributes:
        files: in the order of the rows.
        rows_per_file: how many rows each of them has, except for the last.
    """

    files: tuple[RowFile, ...]
    rows_per_file: int

    def read_into(self, room: Tensor, places: Tensor, rows: Tensor) -> None:
        """As `RowFile.read_into`, a run that goes on in the next file in two reads."""
        for file, chosen, inside in self.parts(rows):
            file.read_into(room, places[chosen], inside)

    def advise(self, rows: Tensor) -> None:
        """As `RowFile.advise`."""
        for file, _, inside in self.parts(rows):
            file.advise(inside)

    def parts(self, rows: Tensor) -> Iterator[tuple[RowFile, Tensor, Tensor]]:
        """Each file that holds some of the rows, with which of them `(n,)` bool and their places in it."""
        owners = rows // self.rows_per_file
        for owner in owners.unique().tolist():  # type: ignore[no-untyped-call]
            chosen = owners == owner
            yield self.files[owner], chosen, rows[chosen] - owner * self.rows_per_file


def _runs(*lists: Tensor) -> Iterator[tuple[int, int]]:
    """Begin and end of each stretch in which all lists go up by one."""
    if not len(lists[0]):
        return
    broken = torch.stack([numbers.diff() != 1 for numbers in lists]).any(0)
    begins = [0, *(broken.nonzero()[:, 0] + 1).tolist()]
    yield from zip(begins, [*begins[1:], len(lists[0])], strict=True)
