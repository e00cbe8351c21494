"""A callback that sends its own process a signal, as a scheduler would."""

import os

from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ["SignalAt"]


class SignalAt(Callback):
    """Send a signal while a step, counted over all epochs from 1, is going on; 0 at the end of an epoch."""

    def __init__(self, number: int, step: int, epoch: int = -1) -> None:
        self.number, self.step, self.epoch = number, step, epoch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), self.number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), self.number)
