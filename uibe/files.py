"""Files that are whole under their name, or not there.

A file is written under a hidden name of its own in the same folder, forced to disk, and renamed. What a
killed process leaves behind is hidden, and nothing reads it.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

__all__ = ["hidden_name", "publish", "temporary_file", "write_whole"]


def hidden_name(path: Path) -> Path:
    """A name beside a path that no other writer has.

    Example:
        >>> name = hidden_name(Path("runs/a.csv")).as_posix()
        >>> name.startswith("runs/.a.csv."), name.endswith(".tmp")
        (True, True)
    """
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextlib.contextmanager
def temporary_file(path: Path, *moved: Path) -> Iterator[Path]:
    """A hidden name to write under, of which nothing is left in the end unless it was published.

    Args:
        path: the file to be.
        moved: folders where its folder may be meanwhile, renamed by another process.
    """
    temporary = hidden_name(path)
    try:
        yield temporary
    finally:
        for folder in (path.parent, *moved):
            with contextlib.suppress(OSError):
                (folder / temporary.name).unlink()


def publish(temporary: Path, path: Path) -> None:
    """Force a file to disk and give it its name; what had the name before is replaced.

    Raises:
        OSError: if it cannot be, as on a full disk; what had the name stays.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of some bytes.

    Raises:
        OSError: if it cannot be written; what stood at its place stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder, "a.csv"), b"1")
        ...     [(path.name, path.read_bytes()) for path in Path(folder).iterdir()]
        [('a.csv', b'1')]
    """
    with temporary_file(path) as temporary:
        temporary.write_bytes(content)
        publish(temporary, path)
