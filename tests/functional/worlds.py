"""Processes as threads: what `uibe.functional.processes` calls of torch.distributed, for a few at once.

The real thing is what `tests/distributed` starts; this one takes milliseconds.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from uibe.functional import processes

__all__ = ["World", "in_a_world"]

Result = TypeVar("Result")
PATIENCE = 20  # seconds to wait for the others before the test fails


class World:
    """Stands in for `torch.distributed`; each thread is a process."""

    ProcessGroup = str

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls: list[str] = []  # of the first process
        self.patience: list[timedelta | None] = []  # of each group that was made
        self.groups = 0  # that exist
        self._own = threading.local()
        self._meeting = threading.Barrier(size)
        self._given: list[Any] = [None] * size

    def run(self, body: Callable[[], Result]) -> list[Result]:
        """Results of a function in every process."""

        def process(rank: int) -> Result:
            self._own.rank = rank
            try:
                return body()
            except BaseException:
                self._meeting.abort()  # or the others would wait
                raise

        with ThreadPoolExecutor(self.size) as pool:
            running = [pool.submit(process, rank) for rank in range(self.size)]
            errors = [error for each in running if (error := each.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error  # the cause, not what it did to the others
        return [each.result() for each in running]

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def get_world_size(self) -> int:
        return self.size

    def get_rank(self) -> int:
        rank: int = self._own.rank
        return rank

    def all_reduce(self, tensor: Tensor) -> None:
        given = self._exchange("all_reduce", tensor.clone())
        tensor.copy_(torch.stack(given).sum(0))

    def broadcast(self, tensor: Tensor, src: int) -> None:
        tensor.copy_(self._exchange("broadcast", tensor.clone())[src])

    def broadcast_object_list(self, objects: list[Any], src: int) -> None:
        objects[:] = self._exchange("broadcast_object_list", list(objects))[src]

    def barrier(self, group: object = "everybody") -> None:
        self._exchange(f"barrier of {group}", None)

    def new_group(self, *, backend: str, timeout: timedelta) -> str:
        self._exchange("new_group", None)
        if self.get_rank() == 0:
            self.patience.append(timeout)
            self.groups += 1
        return backend

    def destroy_process_group(self, group: str) -> None:
        assert group == "gloo"
        self._exchange("destroy", None)
        if self.get_rank() == 0:
            self.groups -= 1

    def _exchange(self, call: str, given: object) -> list[Any]:
        """What all processes give to a collective, which must be the same one."""
        self._given[self.get_rank()] = (call, given)
        self._meeting.wait(PATIENCE)
        met = list(self._given)
        self._meeting.wait(PATIENCE)
        assert {name for name, _ in met} == {call}
        if self.get_rank() == 0:
            self.calls.append(call)
        return [part for _, part in met]


def in_a_world(size: int, body: Callable[[], Result], monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """Results of a function in processes that know of each other."""
    world = World(size)
    monkeypatch.setattr(processes, "dist", world)
    return world.run(body)
