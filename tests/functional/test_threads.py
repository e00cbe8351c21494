"""Work in threads: all of it, in order, in the modes of the caller, and torch as it was before."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from uibe.functional.threads import in_order, in_threads


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order(threads: int) -> None:
    assert list(in_threads(lambda item: item * item, range(50), threads)) == [item**2 for item in range(50)]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_modes_are_those_of_the_caller_without_gradients(threads: int, inference: bool) -> None:
    def modes(_: int) -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with torch.inference_mode(inference):
        assert set(in_threads(modes, range(9), threads)) == {(inference, False)}
    results = in_threads(modes, range(9), threads)
    next(results)
    assert torch.is_grad_enabled()  # in between, too
    results.close()


def test_each_thread_has_one_of_torchs() -> None:
    assert set(in_threads(lambda _: torch.get_num_threads(), range(9), 3)) == {1}


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_and_an_end_in_between_leaves_nothing_behind(threads: int) -> None:
    results = in_threads(lambda item: 1 / item, [1, 0, 2], threads)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = in_threads(abs, range(100), threads)
    next(results)
    results.close()
    assert torch.get_num_threads() == 3


def test_few_items_are_taken_ahead() -> None:
    taken = []
    items = (taken.append(item) or item for item in range(100))  # type: ignore[func-returns-value]
    next(in_threads(abs, items, 3))
    assert len(taken) <= 8


def test_as_many_wait_as_were_asked_for() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    with ThreadPoolExecutor(1) as pool:
        results = in_order(pool, abs, items(), ahead=2)
        assert (next(results), taken) == (0, [0, 1, 2])
        assert (next(results), taken) == (1, [0, 1, 2, 3])
        results.close()
    taken.clear()
    next(in_threads(abs, items(), 3))
    assert len(taken) == 7  # two for each thread and the one that was given out


def test_no_more_threads_than_were_asked_for() -> None:
    def thread(_: int) -> int:
        time.sleep(0.005)
        return threading.get_ident()

    assert len(set(in_threads(thread, range(20), 2))) <= 2
