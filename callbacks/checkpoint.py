"""The checkpoint from which a run goes on as if it had never stopped."""

import errno
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau

from callbacks.signals import Interrupted, StopSignals
from uibe.errors import ConfigError, DataError
from uibe.functional.processes import global_sum, world_size

__all__ = ["RunCheckpoint"]

_log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_ASK_EVERY = 8  # steps between questions to the other processes


class RunCheckpoint(Checkpoint):
    """Keep `last.ckpt`, written at the end of each epoch and now and then within, and `previous.ckpt`.

    SIGINT (Ctrl-C), SIGTERM and SIGUSR1 (SLURM's warning of a preemption) end the run after the current step
    with a checkpoint of it, and with exit code 128 + the signal's number. With several processes each signal
    is heard by all of them, within 8 steps.

    Args:
        every_minutes: between checkpoints within an epoch; 0 for none.
        every_steps: likewise, in optimizer steps.

    Raises:
        ConfigError: if a number is negative.
    """

    def __init__(self, every_minutes: float = 10.0, every_steps: int = 0) -> None:
        if every_minutes < 0 or every_steps < 0:
            raise ConfigError("checkpoint: expected every_minutes >= 0 and every_steps >= 0")
        self.every_minutes, self.every_steps = every_minutes, every_steps
        self.last_model_path = ""
        self._folder = Path()
        self._signals = StopSignals()
        self._saved_at = 0.0
        self._saved = False
        self._progress: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """Where the newest checkpoint is or will be, once the trainer is set up."""
        return self._folder / "last.ckpt"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, `checkpoints` beside the logs; a collective."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "checkpoints"
        if self.path.is_file():
            self.last_model_path = str(self.path)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to signals from now on; Lightning does not any more."""
        self._signals.install()
        self._saved_at, self._saved = time.monotonic(), False
        if self._progress is not None:
            # Lightning forgets a loader's place when the length of the run was asked for before
            trainer.train_dataloader.load_state_dict(self._progress["loader"])  # type: ignore[union-attr]
            torch.set_rng_state(self._progress["random_state"])
            for plateau, value in zip(_plateaus(trainer), self._progress.get("plateaus", []), strict=False):
                plateau.scheduler.step(value)
            self._progress = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop, if a signal asks for it: the epoch before is logged by now, and the run is not over."""
        if self._saved:
            self._stop(trainer, self._signals.received(pl_module.device))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Save, if it is due, and stop, if a signal asks for it; the end of the epoch does both anyway."""
        if trainer.is_last_batch or trainer.global_step == trainer.max_steps:
            return
        step, number = trainer.global_step, 0
        if world_size() == 1 or step % _ASK_EVERY == 0:
            number = self._signals.received(pl_module.device)
        if number or (self.every_steps and step % self.every_steps == 0) or self._is_late(trainer, pl_module):
            self._save(trainer)
        self._stop(trainer, number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; a signal waits until Lightning has logged the epoch."""
        self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back, before Lightning does the same to those that it found."""
        self._signals.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back; the state within a step is not worth keeping. Say where a disk is full."""
        self._signals.restore()
        # a failing write knows no name, and all that a run writes by itself is in one folder
        if isinstance(exception, OSError) and exception.filename is None and exception.errno in _FULL:
            exception.filename = trainer.log_dir or trainer.default_root_dir

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the place in the epoch, and torch's random state: modules of others may draw from it."""
        loader = trainer.train_dataloader.state_dict()  # type: ignore[union-attr]
        if trainer.is_last_batch:  # `limit_train_batches` ends an epoch before its loader does
            loader["given"] = loader["batches"]
        checkpoint["progress"] = {
            "loader": loader,
            "random_state": torch.get_rng_state(),
            "plateaus": _values_to_come(trainer),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on there when training starts."""
        self._progress = checkpoint.get("progress")

    def _is_late(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        if not self.every_minutes or trainer.global_step % _ASK_EVERY:
            return False
        late = time.monotonic() - self._saved_at >= 60 * self.every_minutes
        # clocks differ, but all processes must save
        return bool(global_sum(torch.tensor(int(late), device=pl_module.device)))

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # a trial without a folder of its own
            return
        path, previous = self.path, self._folder / "previous.ckpt"
        # a run goes on with the previous one where the last one is damaged, and has no other to lose
        damaged = not self._saved and Path(trainer.ckpt_path or "").absolute() == previous.absolute()
        if trainer.is_global_zero and not damaged:
            _keep_previous(path, previous)
        trainer.save_checkpoint(path)
        self.last_model_path, self._saved_at, self._saved = str(path), time.monotonic(), True

    def _stop(self, trainer: Trainer, number: int) -> None:
        if number:
            if trainer.is_global_zero:
                _log.warning(
                    "stopped after step %d; go on with --ckpt_path %s or --resume auto",
                    trainer.global_step,
                    self.last_model_path,
                )
            raise Interrupted(number)


def _plateaus(trainer: Trainer) -> list[LRSchedulerConfig]:
    return [each for each in trainer.lr_scheduler_configs if isinstance(each.scheduler, ReduceLROnPlateau)]


def _values_to_come(trainer: Trainer) -> list[float]:
    """What plateau schedules are told after the end of an epoch, when its checkpoint is written already."""
    progress = trainer.fit_loop.epoch_progress.current
    if progress.processed == progress.completed:  # type: ignore[attr-defined]
        return []
    return [float(trainer.callback_metrics[str(each.monitor)]) for each in _plateaus(trainer)]


def _keep_previous(path: Path, previous: Path) -> None:
    """Give a file a second name, which stays when the first one is written anew; nothing is half there."""
    if not path.is_file():
        return
    partial = previous.with_name(f"{previous.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(path, partial)
    except OSError:  # a file system without second names
        _copy(path, partial)
    partial.replace(previous)


def _copy(path: Path, to: Path) -> None:
    try:
        shutil.copyfile(path, to)
    except OSError as error:
        to.unlink(missing_ok=True)
        raise DataError(
            f"{to}: cannot be written ({error.strerror}); {path} is intact: free space, then go on with "
            "--resume auto"
        ) from error
