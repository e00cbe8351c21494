"""A run that was stopped and goes on is the run that never was, bit for bit."""

import signal
from pathlib import Path

import pytest
import torch

from tests.running import Bench, Run, finished, quick, run_train, same_tensors, synthetic

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
SHORT = ["--data.pixels_per_batch", "700", "--data.passes_per_epoch", "4"]  # 4 steps an epoch, a pixel over
SUPERVISED = ["--model", "lightning_modules.SupervisedModule", "--model.min_frequency", "1"]


def options(bench: Bench, runs: Path, *extra: str) -> list[str]:
    """Of a run of three epochs of 4 steps."""
    own = ["--trainer.max_epochs", "3", *SHORT, *extra]
    return ["fit", *synthetic(bench.root, bench.cache), *quick(runs), *own]


def stopping(number: int, step: int, epoch: int = -1) -> list[str]:
    """Options that send the run a signal."""
    init = f'{{"number": {int(number)}, "step": {step}, "epoch": {epoch}}}'
    callback = f'{{"class_path": "tests.interrupting.SignalAt", "init_args": {init}}}'
    return ["--trainer.callbacks", f"[{callback}]"]


def assert_same(left: Run, right: Run) -> None:
    """Everything that a checkpoint keeps of training, but for times and places."""
    assert same_tensors(left.state, right.state)
    one, other = left.checkpoint, right.checkpoint
    for name in ("global_step", "epoch", "lr_schedulers", "optimizer_states", "step_means", "progress"):
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    assert left.dissection == right.dissection


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nothing stops."""
    runs = tmp_path_factory.mktemp("whole")
    return finished(run_train(*options(bench, runs)), runs)


def broken_off(bench: Bench, runs: Path, stop: list[str], *extra: str) -> Run:
    """The run that a signal stopped, gone on with."""
    first = run_train(*options(bench, runs, *extra), *stop)
    assert first.code > 128, first.err
    again = run_train(*options(bench, runs, *extra), "--resume", "auto")
    assert "going on with" in again.out
    run = finished(again, runs)
    assert run.folder.name == "version_0"
    return run


@pytest.mark.parametrize("step", [1, 6, 8, 11])
def test_stopped_by_sigterm_in_any_step(bench: Bench, whole: Run, tmp_path: Path, step: int) -> None:
    assert_same(whole, broken_off(bench, tmp_path, stopping(signal.SIGTERM, step)))


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_has_its_exit_code(bench: Bench, whole: Run, tmp_path: Path, number: int) -> None:
    outcome = run_train(*options(bench, tmp_path), *stopping(number, 2))
    assert outcome.code == 128 + number
    assert "S1 and S2" not in outcome.out


def test_stopped_while_an_epoch_is_dissected(bench: Bench, whole: Run, tmp_path: Path) -> None:
    assert_same(whole, broken_off(bench, tmp_path, stopping(signal.SIGINT, 0, epoch=1)))


def test_supervised_run_stopped_within_an_epoch(bench: Bench, tmp_path: Path) -> None:
    never = finished(run_train(*options(bench, tmp_path / "a", *SUPERVISED)), tmp_path / "a")
    stopped = broken_off(bench, tmp_path / "b", stopping(signal.SIGTERM, 6), *SUPERVISED)
    assert_same(never, stopped)
