"""Work on many files in threads: decoders and hashes let go of Python's lock."""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from uibe.functional.threads import in_order

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 0, ahead: int = 64
) -> Generator[Result]:
    """Results of a function in the order of the items, computed in threads a bounded number ahead.

    Args:
        function: called in any thread; what it raises is raised at its place.
        items: its arguments.
        threads: how many; 0 for as many as there are cores: more fight over Python's lock.
        ahead: results that may wait to be taken.

    Example:
        >>> list(in_threads(abs, [-1, 2, -3], threads=2, ahead=1))
        [1, 2, 3]
    """
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        yield from in_order(pool, function, items, ahead)
