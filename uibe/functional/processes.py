"""Sums over all processes of a distributed run; with one process, everything is what it was.

Each function but `world_size` and `rank` is a collective: every process must call it, in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = [
    "barrier",
    "broadcast",
    "global_sum",
    "global_sums",
    "long_barrier",
    "rank",
    "shared_text",
    "sizes",
    "world_size",
]

_PATIENCE = timedelta(days=14)


def world_size() -> int:
    """Number of processes; 1 outside of a distributed run."""
    return dist.get_world_size() if _distributed() else 1


def rank() -> int:
    """The number of this process, in `[0, world_size())`."""
    return dist.get_rank() if _distributed() else 0


def global_sum(local: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without a gradient; the argument is left alone.

    Whole numbers add up exactly; floating ones to the rounding of their type, in an order that is the same
    for all processes.

    Example:
        >>> global_sum(torch.tensor([1, 2]))
        tensor([1, 2])
    """
    total = local.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def global_sums(*locals_: Tensor) -> tuple[Tensor, ...]:
    """Sums of tensors over all processes in one message, with the gradient that DDP makes the global one.

    DDP averages the gradients of its W processes, each taken of a loss that all of them compute alike from
    the sums. A local part therefore counts W times: `total + W (local - local.detach())`. Value and averaged
    gradient are those of one process with the whole batch, and nothing is sent on the way back.

    Args:
        *locals_: tensors of one floating type and any shapes, the same for all processes.

    Example:
        >>> [total.tolist() for total in global_sums(torch.tensor(2.0), torch.tensor([1.0, 3.0]))]
        [2.0, [1.0, 3.0]]
    """
    if world_size() == 1:
        return locals_
    totals = global_sum(torch.cat([local.flatten() for local in locals_]))
    parts = torch.split(totals, [local.numel() for local in locals_])
    return tuple(_with_gradient(part, local) for part, local in zip(parts, locals_, strict=True))


def sizes(local: int, device: torch.device) -> list[int]:
    """The number that each process gives, in the order of the processes.

    Args:
        local: this process's number.
        device: of the message, the one that the process computes on.

    Example:
        >>> sizes(3, torch.device("cpu"))
        [3]
    """
    numbers = torch.zeros(world_size(), dtype=torch.int64, device=device)
    numbers[rank()] = local
    return [int(number) for number in global_sum(numbers)]


def broadcast(tensors: Sequence[Tensor]) -> None:
    """Overwrite tensors by those of the first process."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def shared_text(text: str) -> str:
    """The text that the first process gives, for all.

    Example:
        >>> shared_text("runs/3")
        'runs/3'
    """
    texts = [text]
    if world_size() > 1:
        dist.broadcast_object_list(texts, src=0)
    return texts[0]


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def long_barrier() -> Iterator[Callable[[], None]]:
    """A barrier to call within the block, for waits of hours: the run's own gives up after 10 to 30 minutes.

    A process that dies still ends the wait of the others, by an error of the connection.

    Example:
        >>> with long_barrier() as wait:
        ...     wait()
    """
    if world_size() == 1:
        yield barrier
        return
    group = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_PATIENCE))

    def wait() -> None:
        dist.barrier(group)

    try:
        yield wait
    finally:
        dist.destroy_process_group(group)


def _with_gradient(total: Tensor, local: Tensor) -> Tensor:
    total = total.view(local.shape)
    return total + world_size() * (local - local.detach()) if local.requires_grad else total


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()
