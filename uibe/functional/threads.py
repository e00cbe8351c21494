"""Many small computations at once, each in one thread."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["in_threads"]

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
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(call, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(threads)  # threads to come start with the number that was set last
