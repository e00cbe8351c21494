"""Running the two command lines inside the test process, small."""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import evaluate
import train

IMAGE_SIZE = "48"  # the small CNN's layer then has 6 x 6 positions


class Outcome(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


class Bench(NamedTuple):
    """Folders that many tests share: the rendered set, its feature caches, the runs."""

    root: Path
    cache: Path
    runs: Path


class Run(NamedTuple):
    """A finished training: what it printed, where its logs are."""

    outcome: Outcome
    folder: Path

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def checkpoint(self) -> dict[str, Any]:
        """The checkpoint's content."""
        content: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        return content

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The learned tensors."""
        state: dict[str, torch.Tensor] = self.checkpoint["state_dict"]
        return state

    @property
    def dissection(self) -> dict[str, Any]:
        """What the dissection callback keeps."""
        state: dict[str, Any] = self.checkpoint["callbacks"]["DissectionCallback"]
        return state


def run(main: Callable[[Sequence[str]], None], args: Sequence[str | Path]) -> Outcome:
    """Run a command line and note how it ended; an exception that a user would see as one is not caught."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Outcome(code, out.getvalue(), err.getvalue())


def run_train(*args: str | Path) -> Outcome:
    """`python train.py ...`."""
    return run(train.main, args)


def run_evaluate(*args: str | Path) -> Outcome:
    """`python evaluate.py ...`."""
    return run(evaluate.main, args)


def quick(runs: Path, image_size: str = IMAGE_SIZE) -> list[str]:
    """Options of a fit of seconds, whatever the data."""
    return [
        "--model.image_size", image_size,
        "--data.pixels_per_batch", "512",
        "--trainer.max_epochs", "2",
        "--trainer.enable_progress_bar", "false",
        "--trainer.logger.init_args.save_dir", str(runs),
        "--figures.detectors", "0",
        "--forming.detectors", "0",
        "--board.projector", "0",
    ]  # fmt: skip


def synthetic(root: Path, cache: Path) -> list[str]:
    """Options of the small rendered set."""
    return [
        "--data.root", str(root),
        "--data.cache_dir", str(cache),
        "--data.num_train", "24",
        "--data.num_val", "12",
        "--data.render_size", "48",
        "--data.mask_size", "24",
    ]  # fmt: skip


def broden(root: Path, cache: Path) -> list[str]:
    """Options of a folder in Broden's format."""
    return [
        "--data",
        "datamodules.BrodenDataModule",
        "--data.root",
        str(root),
        "--data.cache_dir",
        str(cache),
    ]


def finished(outcome: Outcome, runs: Path) -> Run:
    """The newest run below a folder of runs, which must have succeeded."""
    assert outcome.code == 0, outcome.err
    folders = sorted((runs / "uibe").iterdir(), key=lambda folder: int(folder.name.rpartition("_")[2]))
    return Run(outcome, folders[-1])


def fit(bench: Bench, runs: Path, *extra: str | Path) -> Run:
    """Train on the shared rendered set."""
    return finished(run_train(*synthetic(bench.root, bench.cache), *quick(runs), *extra), runs)


def same_tensors(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
