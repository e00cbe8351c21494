"""Jobs in processes of their own, alone or as the ranks of a group."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from torch import distributed

FORK = multiprocessing.get_context("fork")

_STARTED: dict[int, BaseProcess] = {}


def start(job: Callable[[], object], rank: int = 0, world_size: int = 1, store: Path | None = None) -> int:
    """A process of its own, in a group of processes if there is a store; its id."""

    def work() -> None:
        if store is not None:
            distributed.init_process_group(
                "gloo", init_method=f"file://{store}", rank=rank, world_size=world_size
            )
        job()

    process = FORK.Process(target=work)
    process.start()
    _STARTED[process.pid or 0] = process
    return process.pid or 0


def ended(pid: int) -> int | None:
    """The exit code of a process, which must not hang."""
    process = _STARTED.pop(pid)
    process.join(timeout=60)
    code = process.exitcode
    process.kill()
    return code


def together(world_size: int, store: Path, job: Callable[[], object]) -> list[int | None]:
    """The exit codes of several processes that do the same at once."""
    return [ended(pid) for pid in [start(job, rank, world_size, store) for rank in range(world_size)]]
