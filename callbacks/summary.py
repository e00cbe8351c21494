"""What a run says of itself: the hparams tab with final scores, a table, and what to do next."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from torch.utils.tensorboard.summary import hparams

from callbacks.dissection import DissectionCallback
from callbacks.surroundings import board, find
from uibe.errors import ConfigError
from uibe.functional.explanation import is_affine
from uibe.report.card import commands
from uibe.report.tables import history_table

__all__ = ["SummaryCallback"]


class SummaryCallback(Callback):
    """Fill TensorBoard's hparams tab; after the fit print S1 and S2 by epoch and the next commands."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the hyper-parameters and the metrics that the hparams tab follows.

        Only the summaries are written: a metric logged here would put a false point into its curve.
        """
        metrics = {f"{name}/{key}": 0 for name in _policies(trainer) for key in ("S1", "S2", "unique")}
        given = {key: value for key, value in pl_module.hparams.items() if value is not None}
        options = {key: _scalar(value) for key, value in given.items() if not key.startswith("_")}
        writer = board(trainer)
        if writer:
            for summary in hparams(options, metrics):
                writer._get_file_writer().add_summary(summary)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the history and where everything is."""
        # a collective: every process must ask, though one writes
        log_dir = trainer.log_dir
        if not trainer.is_global_zero:
            return
        console = Console(soft_wrap=True)
        history = _history(trainer)
        if history:
            console.print(history_table(history, _quantile(trainer)))
        checkpoint = _checkpoint(trainer)
        if log_dir:
            console.print(f"logs        {log_dir}", markup=False)
        if checkpoint and log_dir:
            console.print(f"checkpoint  {checkpoint}", markup=False)
            console.print("next")
            console.print(f"  tensorboard --logdir {log_dir}", markup=False)
            for line in commands(str(checkpoint), str(log_dir), _explaining(pl_module)):
                console.print(f"  {line}", markup=False)


def _explaining(pl_module: LightningModule) -> str | None:
    """What to know before explaining at the layer; None where the head cannot run on features alone."""
    backbone = pl_module.backbone
    size = (1, backbone.num_features, *backbone.feature_size)
    drawn = torch.rand(size, generator=torch.Generator().manual_seed(0))
    features = drawn.to(pl_module.device, pl_module.dtype)
    try:
        exact = is_affine(backbone.head, features)  # type: ignore[arg-type] # the module's own network
    except ConfigError:
        return None
    return "" if exact else "inexact at this layer: the last one before pooling is exact"


def _policies(trainer: Trainer) -> tuple[str, ...]:
    dissection = find(trainer, DissectionCallback)
    return dissection.protocol.policies if dissection else ()


def _quantile(trainer: Trainer) -> float | None:
    dissection = find(trainer, DissectionCallback)
    return dissection.protocol.quantile if dissection else None


def _history(trainer: Trainer) -> list[dict[str, Any]]:
    dissection = find(trainer, DissectionCallback)
    return dissection.history if dissection else []


def _checkpoint(trainer: Trainer) -> Path | None:
    paths = [
        getattr(call, "last_model_path", "") or getattr(call, "best_model_path", "")
        for call in trainer.checkpoint_callbacks
    ]
    written = [Path(path) for path in paths if path]
    return written[-1] if written else None


def _scalar(value: Any) -> str | int | float | bool:  # noqa: ANN401 - whatever a hyper-parameter is
    return value if isinstance(value, str | int | float | bool) else str(value)
