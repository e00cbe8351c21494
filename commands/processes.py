"""Commands in several processes, where torchrun started several."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed as dist

from commands.data import device_of
from uibe.errors import ConfigError

__all__ = ["alone", "together"]


@contextmanager
def together(device: str) -> Iterator[torch.device]:
    """Join the other processes, if there are any; gives the device of this one.

    Args:
        device: `cpu`, or `cuda` for the GPU of the process's number on its machine.

    Raises:
        ConfigError: if the device cannot be used.
    """
    where = device_of(device)
    if _processes() == 1:
        yield where
        return
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    try:
        yield where
    finally:
        dist.destroy_process_group()


def alone(command: str) -> None:
    """Refuse several processes, which would all do the same.

    Raises:
        ConfigError: if torchrun started several.
    """
    if _processes() > 1:
        raise ConfigError(f"evaluate.py {command}: runs in one process; start it without torchrun")


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
