"""A machine that breaks at a chosen moment."""

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from pytorch_lightning import Callback, LightningModule, Trainer

_CAPABILITIES = 0x20080522  # version 3 of the kernel's structure
_OVERRIDES = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def limited_time(seconds: float, error: type[BaseException] = KeyboardInterrupt) -> Iterator[None]:
    """What takes longer is interrupted: a hang fails the test instead of stopping all."""

    def ring(*_: object) -> NoReturn:
        raise error(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """No file grows beyond some bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written into a folder and those below, by root neither."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        with _without_overrides():
            yield
    finally:
        for path in folders:
            path.chmod(0o755)


@contextlib.contextmanager
def _without_overrides() -> Iterator[None]:
    """Root's rights without the one to write where nobody may; this thread's alone."""
    kernel = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITIES, 0), (_Sets * 2)()
    if kernel.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capget")
    before = sets[0].effective
    sets[0].effective = before & ~_OVERRIDES
    if kernel.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        sets[0].effective = before
        kernel.capset(ctypes.byref(header), sets)


class Meanwhile(Callback):
    """Do something before a step of training, counted from 1."""

    def __init__(self, step: int, what: str, path: str) -> None:
        self.step, self.what, self.path = step, what, path

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step + 1 == self.step:
            DEEDS[self.what](Path(self.path))


def files(folder: Path) -> list[Path]:
    """The feature arrays below a folder."""
    return sorted(folder.rglob("features-*.npy"))


def _delete(folder: Path) -> None:
    for path in files(folder):
        path.unlink()


def _overwrite(folder: Path) -> None:
    for path in files(folder):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**6))


def _cut(folder: Path) -> None:
    for path in files(folder):
        os.truncate(path, path.stat().st_size // 2)


DEEDS: dict[str, Callable[[Path], None]] = {"delete": _delete, "overwrite": _overwrite, "cut": _cut}
