"""Time of a training step divided over processes, against the same step in one.

Each process has one thread. `apart` are as many processes, each with its share of the pixels, that do not
talk: what cores and memory allow. The ratios are to one process of the same round; with two processes 0.5
would be perfect. Without DDP's broadcast of buffers, the base of the rotation is not sent in every step.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import finish, ratios, spread
from jsonargparse import auto_cli
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from train_step import Step

CASES = ("one", "apart", "together", "together, no buffers sent")


def main(
    dim: Sequence[int] = (512, 1280),
    pixels: Sequence[int] = (4096, 16384),
    processes: int = 2,
    steps: int = 10,
    rounds: int = 5,
    json: str | None = None,
) -> None:
    """Print the ratio of a divided step's time to the undivided one's, by D and P.

    Args:
        dim: D.
        pixels: P, pixels a step over all processes.
        processes: W.
        steps: in a round.
        rounds: that count; one more warms up.
        json: file to write.
    """
    rows = [row for size in dim for number in pixels for row in _rows(size, number, processes, steps, rounds)]
    options = {"dim": list(dim), "pixels": list(pixels), "processes": processes, "steps": steps}
    finish(f"training step, {processes} processes", rows, options, json)


def _rows(size: int, pixels: int, processes: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    members = [(case, rank) for case in CASES for rank in range(1 if case == "one" else processes)]
    # all wait for each other before and after each case of a round, so that one runs at a time
    everyone = context.Barrier(len(members))
    with tempfile.TemporaryDirectory() as folder:
        work = partial(_work, size=size, pixels=pixels, steps=steps, rounds=rounds, folder=folder)
        shared = {"everyone": everyone, "queue": queue}
        workers = [
            context.Process(target=work, args=(case, rank, processes), kwargs=shared)
            for case, rank in members
        ]
        for worker in workers:
            worker.start()
        seconds = dict(queue.get() for _ in CASES)
        for worker in workers:
            worker.join()
    return [
        {
            "D": size,
            "P": pixels,
            "case": case,
            "milliseconds": spread([1e3 * value for value in seconds[case]]),
            "ratio_to_one": ratios(seconds[case], seconds["one"]),
        }
        for case in CASES
    ]


def _work(
    case: str,
    rank: int,
    processes: int,
    *,
    size: int,
    pixels: int,
    steps: int,
    rounds: int,
    folder: str,
    everyone: Any,  # noqa: ANN401 - a barrier of multiprocessing
    queue: Any,  # noqa: ANN401 - a queue of multiprocessing
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batches = torch.randn(4, pixels, size).relu()
    own = batches if case == "one" else batches.tensor_split(processes, 1)[rank].contiguous()
    talks = case.startswith("together")
    if talks:
        store = f"file://{Path(folder) / case.replace(' ', '-')}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
    run = _Divided(size, own, broadcast_buffers=case == "together") if talks else Step(size, own)
    seconds = []
    for turn in range(rounds + 1):
        for turn_of in CASES:
            everyone.wait()
            start = time.perf_counter()
            if turn_of == case:
                for _ in range(steps):
                    run()
            everyone.wait()
            if turn and turn_of == case:
                seconds.append((time.perf_counter() - start) / steps)
    if rank == 0:
        queue.put((case, seconds))
    if talks:
        dist.destroy_process_group()


class _Divided(Step):
    """A step of several processes, whose gradients DDP averages."""

    def __init__(self, size: int, batches: Tensor, broadcast_buffers: bool) -> None:
        super().__init__(size, batches)
        self.wrapped = DistributedDataParallel(_Loss(self.module), broadcast_buffers=broadcast_buffers)

    def loss(self) -> Tensor:
        """Of the next batch."""
        loss: Tensor = self.wrapped(self.batches[self.steps % len(self.batches)], self.steps)
        return loss


class _Loss(nn.Module):
    """The module's training step as DDP wants it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Tensor, step: int) -> Tensor:
        """The loss of a batch of pixels."""
        loss: Tensor = self.module.training_step(batch, step)
        return loss


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
