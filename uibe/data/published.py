"""The published Broden releases: fetched, unpacked and read once before they are called a data set."""

import json
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from uibe.data.archive import unpack
from uibe.data.download import fetch, sha256_of
from uibe.data.index import BrodenIndex
from uibe.errors import DataError

__all__ = ["RELEASES", "download_broden"]

_PLACE = "http://netdissect.csail.mit.edu/data"
RELEASES = {size: f"{_PLACE}/broden1_{size}.zip" for size in (224, 227, 384)}
"""Address by height and width of the images. Their checksums were never published."""

_RECORD = "source.json"


def download_broden(url: str, root: str | Path, progress: bool = False) -> Path:
    """Make a data set in Broden's format from a zip file, unless `root` has an `index.csv`.

    The zip file is kept beside `root` until it is unpacked; one that was put there by hand is used, and left
    where it is. Address, size and SHA-256 go to `source.json` in `root`.

    Args:
        url: the zip file's address, such as one of `RELEASES`.
        root: folder of the data set.
        progress: whether to show progress bars.

    Returns:
        `root`.

    Raises:
        DataError: the file cannot be fetched, is not a data set in Broden's format, or `root` holds something
            else; says what to do by hand.
    """
    root = Path(root)
    if (root / "index.csv").is_file():
        return root
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise DataError(
            f"{root}: has no index.csv but something else; choose another folder or empty this one"
        )
    archive = root.absolute().parent / (PurePosixPath(urlsplit(url).path).name or "broden.zip")
    by_hand = archive.is_file()
    try:
        fetch(url, archive, progress=progress)
    except DataError as error:
        if (root / "index.csv").is_file():  # another process was faster
            return root
        raise DataError(
            f"{error}; or by hand: fetch {url} elsewhere, put it here as {archive} (or unpack it so that "
            f"{root / 'index.csv'} is there), then rerun"
        ) from error
    try:
        _unpack(archive, url, root, progress)
    finally:
        if not by_hand:
            archive.unlink(missing_ok=True)
    return root


def _unpack(archive: Path, url: str, root: Path, progress: bool) -> None:
    def check(folder: Path) -> None:
        try:
            BrodenIndex.read(folder)
        except DataError as error:
            reason = str(error).replace(f"{folder}/", "")
            raise DataError(
                f"{url}: not a data set in Broden's format: {reason}; correct the address"
            ) from error
        record = {"url": url, "bytes": archive.stat().st_size, "sha256": sha256_of(archive)}
        (folder / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

    try:
        unpack(archive, root, check, progress)
    except DataError as error:
        if not (root / "index.csv").is_file():  # else another process was faster
            raise DataError(f"{error} (from {url})" if url not in str(error) else str(error)) from error
