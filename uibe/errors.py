"""The three errors that users meet: each message names the culprit, what was expected and what to do.

Pure functions in `uibe.functional` raise `ValueError` instead; the command line prints any of these
as one line and exits with a non-zero code. So it does for what the machine may do to a run at any place:
errors of the operating system, lack of memory, and worker processes that are killed.
"""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["CONTROL", "ConfigError", "DataError", "MismatchError", "one_line_errors", "printable"]

# control characters, ends of lines, halves of characters, and what turns the direction of writing
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What would break a message, a table or a terminal."""


class ConfigError(ValueError):
    """An option cannot be honoured: an unknown backbone, layer, weights file, category or value."""


class DataError(ValueError):
    """A file of the user's data is missing, damaged or contradicts its index."""


class MismatchError(ValueError):
    """Two things that must belong together do not: checkpoint and weights, cache and data."""


@contextmanager
def one_line_errors(debug: bool = False) -> Iterator[None]:
    """Turn the errors above and those of the operating system into one line on standard error, exit code 1.

    Args:
        debug: let them through with their traceback instead.

    Example:
        >>> with one_line_errors(debug=False):
        ...     raise DataError("index.csv, line 3: no such image")
        Traceback (most recent call last):
        SystemExit: 1
    """
    try:
        with warnings.catch_warnings():
            # of images that are refused anyway, in one line: Pillow would put two more above it
            warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit")
            yield
    except Exception as error:
        ours = _ours(error)
        if debug or ours is None:
            raise
        sys.stderr.write(f"error: {_last_line(ours)}\n")
        raise SystemExit(1) from None


def printable(text: str) -> str:
    r"""Spell out the control characters of a text of others, which could steer a terminal.

    Args:
        text: such as a label's name from a data set.

    Example:
        >>> printable("red\x1b[2J\n"), printable("naïve 猫")
        ('red\\x1b[2J\\n', 'naïve 猫')
    """
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _ours(error: BaseException | None) -> BaseException | None:
    """The one of our errors that caused this one: jsonargparse wraps what a constructor raises."""
    while error is not None and not isinstance(error, ConfigError | DataError | MismatchError):
        if isinstance(error, OSError):
            return DataError(_of_system(error))
        if isinstance(error, MemoryError):
            return DataError(
                f"out of memory ({error}): a size in the data's index may be wrong; "
                "else give a smaller data.batch_size or data.shuffle_megabytes"
            )
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
            return DataError(
                f"{str(error).strip().rstrip('.')}: often memory ran out: give fewer data.num_workers, "
                "then rerun, training with --resume auto"
            )
        error = error.__cause__
    return error


def _of_system(error: OSError) -> str:
    """What happened to which file, as far as the operating system says."""
    reason = error.strerror or str(error) or type(error).__name__
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{reason}; check the disk, its space and the rights, then rerun (--debug shows where)"


def _last_line(error: BaseException) -> str:
    """The message; a worker process prepends its traceback and the error's name."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    line = line.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
    return printable(line)
