"""Many small computations at once, each in one thread."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_order", "in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result]:
    """Results of a function in the order of the items, in threads that have one of torch's each.

    Operations too small to be divided among torch's threads would wait for all of them at each end. Gradients
    are off in the threads, inference mode is as it is where the results are asked for.

    Args:
        function: called in any thread; what it raises is raised at its place.
        items: its arguments, taken a few ahead.
        threads: how many, all that torch has; with 1 everything is done where the results are asked for.

    Example:
        >>> list(in_threads(abs, [-1, 2, -3], threads=1))
        [1, 2, 3]
    """
    inference = torch.is_inference_mode_enabled()

    def call(item: Item) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return function(item)

    if threads == 1:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from in_order(pool, call, items, ahead=2 * threads)
        finally:
            torch.set_num_threads(threads)  # threads to come start with the number that was set last


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Generator[Result]:
    """Results in the order of the items, at most so many of them ahead of their use.

    Args:
        pool: computes them; what is still waiting when nobody asks any more is cancelled.
        function: what it raises is raised at its place.
        items: its arguments.
        ahead: results that may wait to be taken.

    Example:
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(in_order(pool, abs, [-1, 2, -3], ahead=1))
        [1, 2, 3]
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
