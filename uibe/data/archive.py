"""Unpacking a zip file that may be damaged or hostile: all of it inside one folder, or nothing."""

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath

from rich.progress import track

from uibe.errors import DataError

__all__ = ["unpack"]

_MOST_TIMES = 100  # images hardly shrink in a zip file, tables some 10 times
_HARMLESS = 2**20
_PIECE = 2**20

Member = tuple[zipfile.ZipInfo, tuple[str, ...]]


def unpack(
    archive: str | Path,
    folder: str | Path,
    check: Callable[[Path], None] | None = None,
    progress: bool = False,
) -> Path:
    """Unpack a zip file into a new folder, which gets its name when complete.

    If all of the archive is in one folder, its content is taken.

    Args:
        archive: the zip file.
        folder: to be made; may be there if empty.
        check: called with the complete folder before it gets its name; an exception ends all.
        progress: whether to show a progress bar.

    Returns:
        `folder`.

    Raises:
        DataError: the file is no whole zip file, is encrypted, would write outside of the folder or far more
            than its size suggests, or the folder cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with zipfile.ZipFile(f"{place}/a.zip", "w") as file:
        ...         file.writestr("top/inner/text", "content")
        ...     (unpack(f"{place}/a.zip", f"{place}/a") / "inner" / "text").read_text()
        'content'
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(archive, file)
            folder.parent.mkdir(parents=True, exist_ok=True)
            _check_size(archive, folder, [info for info, _ in members])
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
                partial = Path(place) / folder.name
                partial.mkdir()
                for member in track(
                    members, f"Unpacking {archive.name}", disable=not progress, transient=True
                ):
                    _extract(file, member, partial)
                if check is not None:
                    check(partial)
                os.replace(partial, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: not a whole zip file ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be unpacked from {archive} ({error}); free space or choose another folder"
        ) from error
    return folder


def _members(archive: Path, file: zipfile.ZipFile) -> list[Member]:
    """The files of an archive with the parts of their paths, less a folder that holds them all."""
    infos = [
        info for info in file.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")
    ]
    members = [(info, _parts(archive, info)) for info in infos]
    names = [parts for _, parts in members]
    if len(set(names)) != len(names):
        raise DataError(f"{archive}: has two files of one name; use another archive")
    tops = {parts[0] for parts in names}
    if len(tops) == 1 and all(len(parts) > 1 for parts in names):
        return [(info, parts[1:]) for info, parts in members]
    return members


def _parts(archive: Path, info: zipfile.ZipInfo) -> tuple[str, ...]:
    name = info.orig_filename
    # Windows' rules are the stricter ones: they also know drives, and both kinds of slash.
    path = PureWindowsPath(name)
    if not path.parts or path.anchor or ".." in path.parts or "\0" in name:
        raise DataError(f"{archive}: {name!r} would be written outside of the folder; use another archive")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: {name!r} is a link or no plain file; use another archive")
    if info.flag_bits & 1:
        raise DataError(f"{archive}: {name!r} is encrypted; unpack it by hand")
    return path.parts


def _check_size(archive: Path, folder: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    needed, packed = sum(info.file_size for info in infos), archive.stat().st_size
    if needed > max(_HARMLESS, _MOST_TIMES * packed):
        raise DataError(
            f"{archive}: {packed} bytes that unpack to {needed}, more than {_MOST_TIMES} times; "
            "use another archive"
        )
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise DataError(
            f"{folder.parent}: {needed} bytes needed to unpack {archive}, {free} free: "
            "free space or choose another folder"
        )


def _extract(file: zipfile.ZipFile, member: Member, folder: Path) -> None:
    info, parts = member
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file.open(info) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, _PIECE)
