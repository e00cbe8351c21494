"""Work in threads: results in order, not too early, failures at their place."""

import threading

import pytest

from uibe.data.threads import in_threads


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("ahead", [0, 1, 3, 99])
def test_results_come_in_order_and_not_too_early(threads: int, ahead: int) -> None:
    started = 0
    lock = threading.Lock()

    def square(number: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return number**2

    for taken, result in enumerate(in_threads(square, range(20), threads, ahead)):
        assert result == taken**2
        assert started <= taken + 1 + ahead


def test_failure_is_raised_at_its_place() -> None:
    results = in_threads(lambda number: 6 // number, [3, 2, 0, 1], threads=2, ahead=3)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_is_not_wanted_is_not_computed() -> None:
    gate, computed = threading.Event(), []

    def wait(number: int) -> int:
        if number:
            gate.wait(30)
        computed.append(number)
        return number

    results = in_threads(wait, range(9), threads=1, ahead=5)
    assert next(results) == 0
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert len(computed) <= 2
