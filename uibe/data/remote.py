"""Byte ranges of files on the disk or behind a URL, through fsspec, with retries: exact, or an error.

fsspec knows the protocols: http(s) as installed, s3, gs and others with their own packages. What it leaves
open is decided here: which failures are worth another try, and that a server which ignores a range, or sends
fewer bytes than it was asked for, is never taken at its word.
"""

import functools
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import fsspec
import fsspec.callbacks

from uibe.errors import ConfigError, DataError

__all__ = ["RangeIgnoredError", "RemoteFile", "is_remote"]

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0
_TRANSIENT = frozenset({408, 425, 429})  # and all from 500 on
_REMEDY = "check the address, the connection and the server, then rerun"


class RangeIgnoredError(DataError):
    """The server sends something else than the range that it was asked for."""


class RemoteFile:
    """One file that is read in byte ranges: safe for threads, for pickling and in forked processes.

    Args:
        url: a path, or a URL of a protocol that fsspec knows.
        retries: further attempts after a failure that may pass: no connection, a timeout, the answers 408,
            425, 429 and from 500 on, and fewer bytes than asked for. 403, 404 and the like are final.
        pause: seconds before the second attempt; it doubles each time, up to half a minute.
        timeout: seconds without a byte after which an attempt has failed; a whole attempt may take ten times
            as long.

    Raises:
        ConfigError: a number is out of range, or nothing is installed for the URL's protocol.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "ten").write_bytes(b"0123456789")
        ...     file = RemoteFile(f"{folder}/ten")
        ...     file.size(), file.read(2, 5)
        (10, b'234')
    """

    def __init__(self, url: str, retries: int = 5, pause: float = 0.5, timeout: float = 30.0) -> None:
        if retries < 0 or pause < 0 or timeout <= 0:
            raise ConfigError(
                f"{url}: retries {retries}, pause {pause}, timeout {timeout}: expected numbers from 0 up, "
                "and a timeout above 0"
            )
        self.url = url
        self.retries = retries if is_remote(url) else 0
        self.pause = pause
        self.timeout = timeout
        _filesystem(_protocol(url), timeout, os.getpid())

    def size(self) -> int | None:
        """Bytes of the file; None if the server does not say.

        Raises:
            DataError: see `read`.
        """
        found = self._attempts("size", lambda system: system.info(self._path)["size"])
        return None if found is None else int(found)

    def version(self) -> dict[str, str]:
        """What changes when the file does, by name, as far as the server tells: size, ETag, last change.

        Raises:
            DataError: see `read`.
        """
        info = self._attempts("size", lambda system: system.info(self._path))
        names = ("size", "ETag", "Last-Modified", "mtime")
        return {name: str(info[name]) for name in names if info.get(name) is not None}

    def copy_to(self, path: Path, note: Callable[[int], None] = lambda done: None) -> None:
        """Copy the whole file in one stream to a local one, from its beginning at each attempt.

        Args:
            path: the local file.
            note: called with the number of bytes that are there, now and then.

        Raises:
            DataError: see `read`.
        """

        def copy(system: Any) -> None:  # noqa: ANN401 - fsspec is untyped
            hooks = {"note": lambda size, value, **_: note(value)}
            system.get_file(self._path, str(path), callback=fsspec.callbacks.Callback(hooks=hooks))

        self._attempts("all bytes", copy)

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to, without, `end`; up to the end of the file by default.

        Raises:
            DataError: the file or the range does not exist, access is denied, or the last attempt failed;
                `RangeIgnoredError` if the server sends something else than the range.
        """
        if end is None and start:
            end = self.size()
        if end is None:
            return bytes(self._attempts("all bytes", lambda system: system.cat_file(self._path)))
        if not 0 <= start <= end:
            raise DataError(
                f"{self.url}: bytes {start} to {end}: expected a start of at least 0 and at most the end"
            )
        length = end - start

        def fetch(system: Any) -> bytes:  # noqa: ANN401 - fsspec is untyped
            data = bytes(system.cat_file(self._path, start=start, end=end)) if length else b""
            if len(data) != length:
                raise _ShortReadError(f"{len(data)} bytes came instead of {length}")
            return data

        return bytes(self._attempts(f"bytes {start} to {end}", fetch))

    @property
    def _path(self) -> str:
        return self.url if "://" in self.url else os.path.abspath(self.url)

    def _attempts(self, what: str, fetch: Any) -> Any:  # noqa: ANN401 - fsspec is untyped
        for attempt in range(self.retries + 1):
            try:
                # by process: fsspec's event loop does not survive a fork
                return fetch(_filesystem(_protocol(self.url), self.timeout, os.getpid()))
            except (OSError, ValueError, aiohttp.ClientError) as error:
                cause = _root(error)
                final = _final(cause)
                if final is not None:
                    raise DataError(f"{self.url}: {what}: {final}") from error
                if isinstance(cause, _IgnoredRangeError):
                    raise RangeIgnoredError(f"{self.url}: {what}: {cause}") from error
                last = error
                if attempt < self.retries:
                    seconds = min(self.pause * 2**attempt, _LONGEST_PAUSE)
                    _log.info("%s: %s: %s; another try in %g s", self.url, what, _said(cause), seconds)
                    time.sleep(seconds)
        times = f"{self.retries + 1} attempts" if self.retries else "1 attempt"
        raise DataError(
            f"{self.url}: {what} cannot be read, {times} ({_said(_root(last))}); {_REMEDY}"
        ) from last


def is_remote(url: str) -> bool:
    """Whether this is a URL of something else than the local disk.

    Example:
        >>> is_remote("https://example.org/shards"), is_remote("/data/shards"), is_remote("file:///data")
        (True, False, False)
    """
    return _protocol(url) not in ("file", "local")


class _ShortReadError(OSError):
    """Fewer bytes came than were asked for."""


class _IgnoredRangeError(OSError):
    """An answer that is not the range."""


def _protocol(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "file"


@functools.lru_cache
def _filesystem(protocol: str, timeout: float, process: int) -> Any:  # noqa: ANN401 - fsspec is untyped
    """One connection pool for all files and threads of a process."""
    del process
    options: dict[str, Any] = {}
    if protocol in ("http", "https"):
        limits = aiohttp.ClientTimeout(total=10 * timeout, sock_connect=timeout, sock_read=timeout)
        options = {
            # trust_env: proxies of the environment, as in a cluster
            "client_kwargs": {"timeout": limits, "raise_for_status": _check_range, "trust_env": True},
            # compressed on the way, lengths and offsets would be of something else
            "headers": {"Accept-Encoding": "identity"},
        }
    try:
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{protocol}://: {error}; use a path, http(s)://, or install what it needs"
        ) from error


async def _check_range(response: aiohttp.ClientResponse) -> None:
    """Compare an answer's header with the range that was asked for, before its body is read."""
    wanted = response.request_info.headers.get("Range", "")
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)
    if asked is None or response.status >= 400:
        return
    start, last = int(asked[1]), int(asked[2])
    if response.status == 206:
        said = response.headers.get("Content-Range", "")
        found = re.match(r"bytes (\d+)-(\d+)/", said)
        if found is None or int(found[1]) != start:
            raise _IgnoredRangeError(
                f"the server answered with the range {said!r}; use another server or a local copy"
            )
    elif start or response.content_length != last + 1:
        raise _IgnoredRangeError(
            "the server ignores byte ranges and sends whole files; use one that honours Range requests "
            "(nginx, Apache, S3, not `python -m http.server`), or a local copy"
        )


def _root(error: BaseException) -> BaseException:
    """What fsspec wrapped: it calls every failure to find out a size `FileNotFoundError`."""
    while isinstance(error, FileNotFoundError | TimeoutError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _final(error: BaseException) -> str | None:
    """What to say of a failure that would come again."""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such file; correct the address"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # certificate errors are both
        return "not a valid URL; correct the address"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "access is denied; check the rights and the address"
    if isinstance(status, int) and 0 < status < 500 and status not in _TRANSIENT:
        return f"the server answered {_said(error)}; check the address"
    return None


def _said(error: BaseException) -> str:
    """One line for an exception, some of which have no text."""
    status = getattr(error, "status", None)
    if status:
        return f"{status} {getattr(error, 'message', '')}".strip()
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
