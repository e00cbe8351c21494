"""A long run with everything on: whether memory, files held open, threads and logs stay flat.

`train.py` learns on a small rendered set with all of its callbacks, TensorBoard and worker processes, and
is measured at the end of every epoch. After a warm-up, in which caches and the heap fill, the growth an
epoch is the median slope between all pairs of epochs (Theil-Sen), which one epoch out of line does not move.
Of the logs it is that of the median epoch: pictures come in jumps, ever rarer (`surroundings.is_shown`).
The exit code is 1 if a growth exceeds its bound. Reads `/proc`, so it runs on Linux only.
"""

import csv
import gc
import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from jsonargparse import auto_cli
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from scipy.stats import theilslopes

from callbacks.surroundings import board
from uibe.errors import ConfigError, one_line_errors

# growth an epoch that a run may have, and what makes it grow at all
BOUNDS = {
    "own_mb": 0.05,  # the history of scores, and how the heap happens to be cut up
    "files": 0.0,
    "threads": 0.0,
    "processes": 0.0,
    "events_kb": 10.0,  # a point on about a hundred curves
    "checkpoint_kb": 8.0,  # the history again
}
_PANELS = {
    "memory, MB": ("rss_mb", "own_mb"),
    "files, threads, processes": ("files", "threads", "processes"),
    "TensorBoard's files, kB": ("events_kb",),
    "last.ckpt, kB": ("checkpoint_kb",),
}


class Footprint(NamedTuple):
    """What a process and its children hold.

    Attributes:
        rss_mb: resident memory; what several processes share, such as libraries, counts for each.
        own_mb: what no file backs, each page once: a worker shares most of its pages with its parent.
        files: open file descriptors.
        threads: of all processes.
        processes: itself and its children.
    """

    rss_mb: float
    own_mb: float
    files: int
    threads: int
    processes: int


def footprint() -> Footprint:
    """Of this process and its children.

    Raises:
        ConfigError: without Linux's `/proc`.
    """
    if not Path("/proc/self/smaps_rollup").is_file():
        raise ConfigError("soak.py: expected Linux's /proc/self/smaps_rollup; run it on Linux")
    found = [each for each in map(_of_process, _family(os.getpid())) if each is not None]
    return Footprint(*(sum(column) for column in zip(*found, strict=True)))


def _family(process: int) -> list[int]:
    """A process and all that descend from it."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            children += map(int, (task / "children").read_text(encoding="ascii").split())
    except OSError:  # it has ended
        return [process]
    return [process, *(each for child in children for each in _family(child))]


def _of_process(process: int) -> Footprint | None:
    """Of one process; None if it has ended."""
    place = Path(f"/proc/{process}")
    try:
        lines = (place / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        files, threads = len(os.listdir(place / "fd")), len(os.listdir(place / "task"))
    except OSError:
        return None
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"]
    return Footprint(kilobytes["Rss"] / 1024, own / 1024, files, threads, processes=1)


class Watch(Callback):
    """Write a row at the end of each epoch, before the next one begins.

    Args:
        file: CSV to write.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._start = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the table."""
        Path(self.file).write_text("", encoding="utf-8")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch before, which is logged and saved by now."""
        if trainer.current_epoch:
            self._note(trainer, trainer.current_epoch - 1)
        self._start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the last epoch."""
        self._note(trainer, trainer.current_epoch - 1)

    def _note(self, trainer: Trainer, epoch: int) -> None:
        seconds = time.perf_counter() - self._start
        gc.collect()  # what it frees is no leak, and whether it has run by now is chance
        writer, folder = board(trainer), Path(trainer.log_dir or ".")
        if writer is not None:
            writer.flush()
        row = {
            "epoch": epoch,
            "seconds": round(seconds, 3),
            **{name: round(value, 3) for name, value in footprint()._asdict().items()},
            "events_kb": _kilobytes(folder, "events.out.tfevents.*"),
            "checkpoint_kb": _kilobytes(folder / "checkpoints", "last.ckpt"),
            "run_kb": _kilobytes(folder, "**/*"),
        }
        with Path(self.file).open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)


def _kilobytes(folder: Path, pattern: str) -> float:
    return round(sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file()) / 1024, 3)


def growth(rows: Sequence[Mapping[str, float]], warm_up: int) -> dict[str, float]:
    """Growth an epoch of what is bounded, over the rows after the warm-up.

    Raises:
        ConfigError: if fewer than two rows are left.
    """
    left = rows[warm_up:]
    if len(left) < 2:
        raise ConfigError(f"--warm_up: expected at least two epochs after it, got {len(left)}")
    columns = {name: [row[name] for row in left] for name in BOUNDS}
    slopes = {name: float(theilslopes(values)[0]) for name, values in columns.items()}
    return {**slopes, "events_kb": median(after - before for before, after in pairwise(columns["events_kb"]))}


def draw(rows: Sequence[Mapping[str, float]], slopes: Mapping[str, float], warm_up: int, path: Path) -> None:
    """The curves, with the bounds and what was found in their titles."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axis, (title, names) in zip(figure.subplots(2, 2).ravel(), _PANELS.items(), strict=True):
        for name in names:
            found = f"{slopes[name]:+.3g} an epoch" if name in slopes else "not bounded"
            axis.plot(epochs, [row[name] for row in rows], label=f"{name.partition('_')[0]} ({found})")
        axis.axvspan(0, warm_up, color="0.93", lw=0)
        axis.set(title=title, xlabel="epoch", xlim=(0, max(epochs[-1], 1)))
        axis.set_ylim(0, 1.25 * max(row[name] for row in rows for name in names))
        axis.legend(loc="center right" if len(names) > 1 else "lower right")
    figure.suptitle(f"{len(rows)} epochs with all callbacks; grey is the warm-up")
    figure.savefig(path, dpi=100)


def main(out: str, epochs: int = 200, warm_up: int | None = None, workers: int = 2) -> None:
    """Learn, measure, draw, and exit with 1 if something grows more than it may.

    Args:
        out: folder for `soak.csv`, `soak.png` and the run itself.
        epochs: of the run.
        warm_up: epochs that do not count; a quarter by default.
        workers: processes that read features.

    Raises:
        ConfigError: if no two epochs would count, or this is not Linux.
    """
    first = epochs // 4 if warm_up is None else warm_up
    if epochs - first < 2:
        raise ConfigError(f"--warm_up: expected at least two epochs after it, got {epochs - first}")
    footprint()
    folder = Path(out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(Path(__file__).parents[1]))  # train.py is a script, and not installed
    sys.argv[1:] = _command(folder, epochs, workers)
    importlib.import_module("train").main()
    with (folder / "soak.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    slopes = growth(rows, first)
    draw(rows, slopes, first, folder / "soak.png")
    _report(rows, slopes)


def _command(folder: Path, epochs: int, workers: int) -> list[str]:
    """The arguments of `train.py`: its own defaults, all callbacks among them, but for the size."""
    options = {
        "model.image_size": 48,
        "data.root": folder / "set",
        "data.cache_dir": folder / "cache",
        "data.num_train": 32,
        "data.num_val": 16,
        "data.render_size": 48,
        "data.mask_size": 24,
        "data.pixels_per_batch": 512,
        "data.num_workers": workers,
        "checkpoint.every_steps": 5,
        "trainer.max_epochs": epochs,
        "trainer.enable_progress_bar": "false",
        "trainer.logger.init_args.save_dir": folder / "runs",
        "trainer.callbacks+": "soak.Watch",
        "trainer.callbacks.init_args.file": folder / "soak.csv",
    }
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _report(rows: Sequence[Mapping[str, float]], slopes: Mapping[str, float]) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{len(rows)} epochs, {sum(row['seconds'] for row in rows):.0f} s")
    exceeded = [name for name, slope in slopes.items() if slope > BOUNDS[name]]
    for name, slope in slopes.items():
        state = "GROWS" if name in exceeded else "ok"
        last = rows[-1][name]
        console.print(
            f"{name:14} {last:10.1f} at the end, {slope:+.4f} an epoch, {BOUNDS[name]} allowed: {state}"
        )
    if exceeded:
        raise SystemExit(1)


if __name__ == "__main__":
    with one_line_errors():
        auto_cli(main, as_positional=False)
