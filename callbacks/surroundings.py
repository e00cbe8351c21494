"""What callbacks ask of the trainer around them."""

from typing import TypeVar

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

__all__ = ["board", "find", "is_last", "is_shown"]

Found = TypeVar("Found", bound=Callback)


def board(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer, in the process that writes; None in others and without TensorBoard."""
    boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
    return boards[0].experiment if boards and trainer.is_global_zero else None


def find(trainer: Trainer, kind: type[Found]) -> Found | None:
    """The first callback of a kind."""
    found = [call for call in trainer.callbacks if isinstance(call, kind)]  # type: ignore[attr-defined]
    return found[0] if found else None


def is_last(trainer: Trainer) -> bool:
    """Whether the epoch that ends is the run's last one."""
    epochs_done = trainer.current_epoch + 1 == trainer.max_epochs
    return epochs_done or trainer.should_stop or trainer.global_step == trainer.max_steps


def is_shown(number: int) -> bool:
    """Whether the dissection of a number, counted from 1, has pictures: those of three binary digits.

    All of the first eight have, and then four to a doubling, so that the log of a long run stays small.

    Example:
        >>> [number for number in range(1, 33) if is_shown(number)]
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    """
    spare = max(number.bit_length() - 3, 0)
    return number >> spare << spare == number
