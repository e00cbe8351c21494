"""Callbacks that do to a run what schedulers and full disks do."""

import os
import resource

from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ["FullDisk", "SignalAt"]


class SignalAt(Callback):
    """Send a signal while a step, counted over all epochs from 1, or the end of an epoch is going on.

    With a rank, only to that process of a distributed run.
    """

    def __init__(self, number: int, step: int, epoch: int = -1, rank: int | None = None) -> None:
        self.number, self.step, self.epoch, self.rank = number, step, epoch, rank

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step + 1 == self.step and self.rank in (None, trainer.global_rank):
            os.kill(os.getpid(), self.number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), self.number)


class FullDisk(Callback):
    """Let no file grow beyond some bytes from the end of an epoch on, as a full disk would."""

    def __init__(self, epoch: int, num_bytes: int) -> None:
        self.epoch, self.num_bytes = epoch, num_bytes
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.before[1]))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
