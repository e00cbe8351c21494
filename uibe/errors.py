"""The three errors that users meet: each message names the culprit, what was expected and what to do.

Pure functions in `uibe.functional` raise `ValueError` instead; the command line prints any of these
as one line and exits with a non-zero code.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ConfigError", "DataError", "MismatchError", "one_line_errors"]


class ConfigError(ValueError):
    """An option cannot be honoured: an unknown backbone, layer, weights file, category or value."""


class DataError(ValueError):
    """A file of the user's data is missing, damaged or contradicts its index."""


class MismatchError(ValueError):
    """Two things that must belong together do not: checkpoint and weights, cache and data."""


@contextmanager
def one_line_errors(debug: bool = False) -> Iterator[None]:
    """Turn the errors above into one line on standard error and exit code 1.

    Args:
        debug: let them through with their traceback instead.

    Example:
        >>> with one_line_errors(debug=False):
        ...     raise DataError("index.csv, line 3: no such image")
        Traceback (most recent call last):
        SystemExit: 1
    """
    try:
        yield
    except Exception as error:
        ours = _ours(error)
        if debug or ours is None:
            raise
        sys.stderr.write(f"error: {_last_line(ours)}\n")
        raise SystemExit(1) from None


def _ours(error: BaseException | None) -> BaseException | None:
    """The one of our errors that caused this one: jsonargparse wraps what a constructor raises."""
    while error is not None and not isinstance(error, ConfigError | DataError | MismatchError):
        error = error.__cause__
    return error


def _last_line(error: BaseException) -> str:
    """The message; a worker process prepends its traceback and the error's name."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return line.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
