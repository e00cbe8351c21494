"""Time of a training step against the two matrix products that no implementation can avoid.

The limit is `pixels @ directions.T` (the projections) and `gradient.T @ pixels` (what the directions learn).
A step is everything: standardization, losses, all gradients, Adam, the rotation's move and its polish, and
what the module logs. Each variant starts from the same state and takes its steps on the same batches.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness import finish, measure, ratios, spread, use_threads
from jsonargparse import auto_cli
from torch import Tensor

from lightning_modules import BasisModule
from uibe.functional.moments import pixel_moments
from uibe.functional.quantiles import column_quantiles
from uibe.memory import keep_freed_memory
from uibe.modules.basis import InterpretableBasis

VARIANTS: dict[str, dict[str, Any]] = {
    "fused, polynomial (default)": {},
    "fused, cayley": {"rotation_map": "cayley"},
    "plain, cayley": {"fused": False, "rotation_map": "cayley"},
    "plain, matrix_exp, static base": {"fused": False, "rotation_map": "matrix_exp", "rebase_every": 0},
}


def main(
    dim: Sequence[int] = (512, 1280, 2048),
    pixels: int = 4096,
    threads: int | None = None,
    repeats: int = 15,
    variants: Sequence[str] = ("fused, polynomial (default)", "fused, cayley", "plain, cayley"),
    bf16: bool = False,
    json: str | None = None,
) -> None:
    """Print the ratio of a step's time to its limit, by D and variant.

    Args:
        dim: D.
        pixels: P, pixels a step.
        threads: torch's threads, all cores by default.
        repeats: rounds.
        variants: names of `VARIANTS`.
        bf16: run steps and limit under bfloat16 autocast.
        json: file to write.
    """
    use_threads(threads)
    keep_freed_memory()  # as a fit does; it serves the limit too
    rows = []
    for size in dim:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            rows += _rows(size, pixels, repeats, variants)
    options = {"dim": list(dim), "pixels": pixels, "repeats": repeats, "bf16": bf16}
    finish("training step", rows, options, json)


def _rows(size: int, num_pixels: int, repeats: int, variants: Sequence[str]) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    batches = torch.randn(4, num_pixels, size).relu()
    directions, gradient = torch.eye(size), torch.randn(num_pixels, size)
    steps = {name: Step(size, batches, **VARIANTS[name]) for name in variants}
    cases: dict[str, Callable[[], object]] = {
        "limit": lambda: (batches[0] @ directions.T, gradient.T @ batches[0])
    }
    seconds = measure({**cases, **steps}, repeats, warmup=2)
    return [
        {
            "D": size,
            "variant": name,
            "milliseconds": spread([1e3 * value for value in seconds[name]]),
            "ratio_to_limit": ratios(seconds[name], seconds["limit"]),
            "orthogonality_error": float(steps[name].module.basis.orthogonality_error())
            if name in steps
            else 0.0,
        }
        for name in seconds
    ]


class Step:
    """One optimizer step of `BasisModule` a call, without Lightning round it."""

    def __init__(self, size: int, batches: Tensor, **options: Any) -> None:  # noqa: ANN401 - the module's own
        self.module = _module(size, batches, **options)
        self.batches = batches
        self.optimizer = self.module.configure_optimizers()
        self.steps = 0

    def __call__(self) -> Tensor:
        """Take the next step; returns the loss."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self.module.move_base(self.steps)
        return loss.detach()

    def loss(self) -> Tensor:
        """Of the next batch."""
        return self.module.training_step(self.batches[self.steps % len(self.batches)], self.steps)


def _module(size: int, batches: Tensor, **options: Any) -> BasisModule:  # noqa: ANN401 - the module's own
    """A module whose basis has `size` directions, started on the batches."""
    module = BasisModule(lr_schedule="constant", **options)
    module.basis = InterpretableBasis(
        size, rotation_map=module.hparams.rotation_map, margin=module.hparams.margin
    )
    flat = batches.flatten(0, 1)
    module.basis.start(pixel_moments(flat))
    standardized = module.basis.standardizer(flat)
    module.basis.start_thresholds(column_quantiles([standardized], 0.05, len(flat)))
    return module


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
