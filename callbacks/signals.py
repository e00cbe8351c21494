"""Signals that ask a run to stop, noted until it can."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

import torch

from uibe.functional.processes import global_sum, world_size

__all__ = ["Interrupted", "StopSignals"]

_log = logging.getLogger(__name__)
# what a terminal, a scheduler and SLURM before a preemption send
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class Interrupted(SystemExit):
    """The run stopped because a signal asked it to; the exit code is 128 + its number, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopSignals:
    """Note SIGINT, SIGTERM and SIGUSR1, while in force, instead of stopping in the middle of a step.

    A second SIGINT stops at once. Lightning's own handlers save a checkpoint wherever the signal strikes, and
    send messages to the other processes from there, which then wait for each other.
    """

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over; only the main thread may."""
        self._number = 0  # one that stopped an earlier run has had its effect
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def restore(self) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def received(self, device: torch.device) -> int:
        """The signal's number, the same for all processes, or 0; a collective."""
        if world_size() == 1:
            return self._number
        noted = torch.zeros(signal.NSIG, dtype=torch.int64, device=device)
        noted[self._number] = 1
        noted = global_sum(noted)
        noted[0] = 0
        return int(noted.argmax()) if bool(noted.any()) else 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._number:
            raise KeyboardInterrupt
        self._number = number
        name = signal.Signals(number).name
        _log.warning("%s: stopping after this step (process %d)", name, os.getpid())
