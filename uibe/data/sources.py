"""Where the files of a data set are read from: a folder, or whatever else offers the same few methods."""

import errno
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from uibe.data.threads import in_threads
from uibe.data.windows import Windows
from uibe.errors import DataError

__all__ = ["FolderSource", "Source", "fingerprint"]


class Source(Protocol):
    """The files of a data set by name, relative to its root, with forward slashes."""

    @property
    def skipped(self) -> frozenset[int]:
        """Lines of index.csv whose files were damaged, and which are therefore left out."""

    def place(self, name: str = "") -> str:
        """The path or URL of a file, for messages; of the root without a name."""

    def file(self, name: str) -> Path | BinaryIO:
        """What Pillow can open."""

    def read(self, name: str) -> bytes:
        """All bytes of a file."""

    def digest(self, name: str) -> str:
        """SHA-256 of a file, 64 hexadecimal digits."""

    def windows(self, num_images: int) -> Windows | None:
        """How to shuffle the images of a split so that few bytes are read twice; None for in any order."""


class FolderSource:
    """The files below a folder.

    Args:
        root: the folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.txt").write_bytes(b"text")
        ...     FolderSource(folder).read("a.txt")
        b'text'
    """

    skipped: frozenset[int] = frozenset()

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def place(self, name: str = "") -> str:
        """The path of a file, or of the folder."""
        return str(self.root / name)

    def file(self, name: str) -> Path:
        """The path of a file."""
        return self.root / name

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            OSError: it cannot be read, or is no file but a pipe or a device, which might never end.
        """
        path = self.file(name)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "neither a file nor a folder")
        return path.read_bytes()

    def digest(self, name: str) -> str:
        """SHA-256 of a file.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return hashlib.sha256(self.read(name)).hexdigest()
        except OSError as error:
            raise DataError(
                f"{self.place(name)}: cannot be read ({error.strerror}); restore the file"
            ) from error

    def windows(self, num_images: int) -> None:
        """None: files can be read in any order."""


def fingerprint(names: Iterable[str], digest: Callable[[str], str]) -> str:
    """SHA-256 over names, in order, and the digests of what they stand for.

    Args:
        names: what is fingerprinted.
        digest: gives the SHA-256 of a name's content; called in threads.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> fingerprint(["a"], lambda name: "00")[:8]
        '49043ff6'
    """
    names = list(names)
    total = hashlib.sha256()
    for name, content in zip(names, in_threads(digest, names), strict=True):
        total.update(f"{name}\0{content}\n".encode())
    return total.hexdigest()
