"""Fetching a large file: in pieces, gone on with after a break, checked, and there only when whole."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from rich.progress import (
    DownloadColumn,
    Progress,
)

from uibe.data.remote import RangeIgnoredError, RemoteFile
from uibe.errors import DataError

__all__ = ["fetch", "sha256_of"]

_PIECE = 8 * 2**20
_ONE_STREAM_TIMEOUT = 600.0  # seconds; a whole file in one answer takes long


def fetch(
    url: str,
    path: str | Path,
    sha256: str | None = None,
    size: int | None = None,
    progress: bool = False,
    piece: int = _PIECE,
) -> Path:
    """Fetch a file unless it is there; what an earlier call left in `NAME.part` is not fetched again.

    Several processes may fetch the same file at once: they write the same bytes to the same places.

    Args:
        url: where from; see `RemoteFile`.
        path: where to; its folder is made.
        sha256: hex digits of the content, if known.
        size: bytes, if known.
        progress: whether to show a progress bar.
        piece: bytes to ask for at once.

    Returns:
        `path`.

    Raises:
        DataError: it cannot be fetched or written, or is not of the size or the content that was expected.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "from").write_bytes(b"0123456789")
        ...     fetch(f"{folder}/from", f"{folder}/to", size=10).read_bytes()
        b'0123456789'
    """
    path = Path(path)
    if path.is_file():
        _verify(path, url, sha256, size)
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_part(RemoteFile(url), part, size, progress, piece)
        try:
            _verify(part, url, sha256, size)
        except DataError:
            _remove(part)
            raise
        part.replace(path)
        _remove(part)
    except OSError as error:
        if not path.is_file():  # else another process was faster
            raise DataError(
                f"{path}: cannot be written ({error}); free space or choose another folder"
            ) from error
    return path


def sha256_of(path: Path) -> str:
    """Hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_part(remote: RemoteFile, part: Path, size: int | None, progress: bool, piece: int) -> None:
    version = remote.version()
    told = int(version["size"]) if "size" in version else None
    if None not in (size, told) and size != told:
        raise DataError(f"{remote.url}: {told} bytes; expected {size}: the wrong file, correct the address")
    have = _resumable(part, {"url": remote.url, **version})
    total = size if told is None else told
    if total is not None:
        _check_space(part, total - have)
    columns = (*Progress.get_default_columns(), DownloadColumn())
    with Progress(*columns, disable=not progress, transient=True) as bar:
        task = bar.add_task(part.stem, total=total, completed=have)
        try:
            if total is None:
                raise RangeIgnoredError(f"{remote.url}: of unknown size")
            _append(remote, part, (have, total), piece, lambda done: bar.update(task, completed=done))
        except RangeIgnoredError:
            whole = RemoteFile(remote.url, remote.retries, remote.pause, _ONE_STREAM_TIMEOUT)
            whole.copy_to(part, lambda done: bar.update(task, completed=done))
    if total is not None and (found := part.stat().st_size) != total:
        _remove(part)
        raise DataError(
            f"{remote.url}: {found} bytes came, {total} were announced: rerun, or correct the address"
        )


def _append(
    remote: RemoteFile, part: Path, span: tuple[int, int], piece: int, note: Callable[[int], object]
) -> None:
    have, total = span
    while have < total:
        data = remote.read(have, min(have + piece, total))
        with part.open("r+b") as file:
            file.seek(have)
            file.write(data)
        have += len(data)
        note(have)


def _resumable(part: Path, version: dict[str, str]) -> int:
    """How many bytes of this version of the file are there; begins a new part if it is of another one."""
    record = _record(part)
    text = json.dumps(version, sort_keys=True)
    have = part.stat().st_size if part.is_file() else 0
    known = record.is_file() and record.read_text(encoding="utf-8", errors="replace") == text
    if known and have <= int(version.get("size", have)):
        part.touch()
        return have
    part.unlink(missing_ok=True)
    record.write_text(text, encoding="utf-8")
    part.touch()
    return 0


def _record(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _record(part).unlink(missing_ok=True)


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DataError(
            f"{part.parent}: {needed} bytes needed, {free} free: free space or choose another folder"
        )


def _verify(path: Path, url: str, sha256: str | None, size: int | None) -> None:
    remedy = f"the wrong file: correct the address, or delete {path} if it is there"
    found = path.stat().st_size
    if size is not None and found != size:
        raise DataError(f"{url}: {found} bytes, expected {size}: {remedy}")
    if sha256 is not None and (digest := sha256_of(path)) != sha256.lower():
        raise DataError(f"{url}: SHA-256 {digest}, expected {sha256}: {remedy}")
