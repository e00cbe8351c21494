"""A run that was stopped and goes on is the run that never was, bit for bit."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.signals import StopSignals
from tests.running import Bench, Run, finished, quick, run_train, same_tensors, synthetic
from uibe.metrics.running import RunningMeans

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


def test_full_disk_leaves_the_last_good_checkpoint(bench: Bench, whole: Run, tmp_path: Path) -> None:
    full = '[{"class_path": "tests.interrupting.FullDisk", "init_args": {"epoch": 1, "num_bytes": 50000}}]'
    outcome = run_train(*options(bench, tmp_path), "--trainer.callbacks", full)
    folder = tmp_path / "uibe" / "version_0" / "checkpoints"
    assert outcome.code == 1
    assert f"error: {folder / 'last.ckpt'}: the checkpoint cannot be written" in outcome.err
    assert "File too large" in outcome.err
    assert "--resume auto" in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert_same(whole, finished(run_train(*options(bench, tmp_path), "--resume", "auto"), tmp_path))


def damage(path: Path) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.unlink()  # or the file's second name would be cut too
    path.write_bytes(content[: len(content) // 2])


def test_truncated_checkpoint_is_refused_and_the_one_before_offered(
    bench: Bench, whole: Run, tmp_path: Path
) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    folder = tmp_path / "uibe" / "version_0" / "checkpoints"
    damage(folder / "last.ckpt")
    refused = run_train(*options(bench, tmp_path), "--ckpt_path", str(folder / "last.ckpt"))
    assert refused.code == 1
    assert f"{folder / 'last.ckpt'}: damaged" in refused.err
    assert f"take {folder / 'previous.ckpt'}, the one before it" in refused.err
    again = run_train(*options(bench, tmp_path), "--resume", "auto")
    assert f"going on with {folder / 'previous.ckpt'}" in again.out
    assert_same(whole, finished(again, tmp_path))


def test_two_damaged_checkpoints_begin_a_new_run(bench: Bench, whole: Run, tmp_path: Path) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    for name in ("last", "previous"):
        damage(tmp_path / "uibe" / "version_0" / "checkpoints" / f"{name}.ckpt")
    refused = run_train(
        *options(bench, tmp_path), "--ckpt_path", str(tmp_path / "uibe/version_0/checkpoints/last.ckpt")
    )
    assert "take an earlier one" in refused.err
    again = finished(run_train(*options(bench, tmp_path), "--resume", "auto"), tmp_path)
    assert again.folder.name == "version_1"
    assert_same(whole, again)


def test_resume_takes_the_run_with_the_same_options(bench: Bench, whole: Run, tmp_path: Path) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    other = run_train(*options(bench, tmp_path, "--model.lr", "0.01"), *stopping(signal.SIGTERM, 2))
    assert other.code == 128 + signal.SIGTERM
    again = run_train(*options(bench, tmp_path), "--resume", "auto")
    assert f"going on with {tmp_path / 'uibe' / 'version_0'}" in again.out
    new = run_train(*options(bench, tmp_path, "--model.lr", "0.02"), "--resume", "auto")
    assert "going on" not in new.out
    assert finished(new, tmp_path).folder.name == "version_2"


def test_finished_run_is_not_repeated(bench: Bench, tmp_path: Path) -> None:
    first = finished(run_train(*options(bench, tmp_path), "--resume", "auto"), tmp_path)
    written = first.path.stat().st_mtime_ns
    again = finished(run_train(*options(bench, tmp_path), "--resume", "auto"), tmp_path)
    assert again.folder == first.folder
    assert again.path.stat().st_mtime_ns == written
    assert "S1 and S2 on the validation split" in again.outcome.out


def test_resume_and_ckpt_path_exclude_each_other(bench: Bench, whole: Run, tmp_path: Path) -> None:
    outcome = run_train(*options(bench, tmp_path), "--resume", "auto", "--ckpt_path", str(whole.path))
    assert outcome.code == 1
    assert "--resume and --ckpt_path: give one of them" in outcome.err


def test_other_batches_within_an_epoch_are_refused(bench: Bench, tmp_path: Path) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    path = tmp_path / "uibe" / "version_0" / "checkpoints" / "last.ckpt"
    outcome = run_train(*options(bench, tmp_path, "--data.pixels_per_batch", "300"), "--ckpt_path", str(path))
    assert outcome.code == 1
    assert "written within an epoch of 4 batches of 700" in outcome.err


def test_data_may_lie_elsewhere_now(bench: Bench, whole: Run, tmp_path: Path) -> None:
    stopped = run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    assert stopped.code == 128 + signal.SIGTERM
    moved = tmp_path / "moved"
    shutil.copytree(bench.root, moved)
    arguments = options(bench, tmp_path, "--data.root", str(moved), "--data.cache_dir", str(tmp_path / "c"))
    kept = tmp_path / "uibe" / "version_0" / "checkpoints" / "last.ckpt"
    assert_same(whole, finished(run_train(*arguments, "--ckpt_path", str(kept)), tmp_path))


def test_other_data_are_another_run(bench: Bench, tmp_path: Path) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    other = ["--data.root", str(tmp_path / "other"), "--data.render_seed", "1"]
    outcome = run_train(*options(bench, tmp_path, *other), "--resume", "auto")
    assert "going on" not in outcome.out
    assert finished(outcome, tmp_path).folder.name == "version_1"


@pytest.mark.parametrize("logger", ["false", "null"])
def test_resume_needs_a_folder_of_runs(bench: Bench, tmp_path: Path, logger: str) -> None:
    arguments = [each for each in options(bench, tmp_path) if not each.startswith("--trainer.logger")]
    arguments.remove(str(tmp_path))
    outcome = run_train(*arguments, "--trainer.logger", logger, "--resume", "auto")
    assert outcome.code == 1
    assert "--resume auto: looks below the logger's save_dir" in outcome.err


def test_resume_with_several_loggers_and_no_name(bench: Bench, whole: Run, tmp_path: Path) -> None:
    board = {
        "class_path": "pytorch_lightning.loggers.TensorBoardLogger",
        "init_args": {"save_dir": str(tmp_path / "board"), "name": None, "default_hp_metric": False},
    }
    table = {"class_path": "pytorch_lightning.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path)}}
    arguments = [each for each in options(bench, tmp_path) if not each.startswith("--trainer.logger")]
    arguments.remove(str(tmp_path))
    arguments += ["--trainer.logger", json.dumps([board, table])]
    run_train(*arguments, *stopping(signal.SIGTERM, 6))
    again = run_train(*arguments, "--resume", "auto")
    assert again.code == 0, again.err
    kept = tmp_path / "board" / "version_0"
    assert f"going on with {kept}" in again.out
    assert_same(whole, Run(again, kept))


def test_a_signal_in_the_very_last_step_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    limited = ["--trainer.max_steps", "6", "--trainer.max_epochs", "-1"]
    never = finished(run_train(*options(bench, tmp_path / "a", *limited)), tmp_path / "a")
    late = run_train(*options(bench, tmp_path / "b", *limited), *stopping(signal.SIGTERM, 6))
    assert late.code == 0
    assert_same(never, finished(late, tmp_path / "b"))


def test_handlers_of_signals_are_given_back(bench: Bench, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    assert run_train(*options(bench, tmp_path)).code == 0
    assert [signal.getsignal(number) for number in SIGNALS] == before
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 2))
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_trial_run_writes_no_checkpoint(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run_train(*options(bench, tmp_path / "runs"), "--trainer.fast_dev_run", "true")
    assert outcome.code == 0, outcome.err
    assert not list(tmp_path.rglob("*.ckpt"))
    assert "None" not in outcome.out


def test_checkpoint_in_every_so_many_steps(bench: Bench, tmp_path: Path) -> None:
    outcome = run_train(
        *options(bench, tmp_path, "--checkpoint.every_steps", "3"),
        "--trainer.callbacks",
        '[{"class_path": "tests.interrupting.FullDisk", "init_args": {"epoch": 0, "num_bytes": 50000}}]',
    )
    assert outcome.code == 1  # step 4 ends the epoch, and is the first that cannot be kept
    kept = torch.load(tmp_path / "uibe" / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 3
    assert kept["progress"]["loader"] == {"given": 3, "batches": 4, "batch_size": 700}


@pytest.mark.parametrize("option", ["--checkpoint.every_steps", "--checkpoint.every_minutes"])
def test_negative_intervals_are_refused(bench: Bench, tmp_path: Path, option: str) -> None:
    outcome = run_train(*options(bench, tmp_path), option, "-1")
    assert outcome.code != 0
    assert "every_steps >= 0" in outcome.err


def test_limited_epochs_go_on_with_whole_ones(bench: Bench, tmp_path: Path) -> None:
    limit = ["--trainer.limit_train_batches", "2"]
    never = finished(run_train(*options(bench, tmp_path / "a", *limit)), tmp_path / "a")
    assert_same(never, broken_off(bench, tmp_path / "b", stopping(signal.SIGTERM, 0, epoch=0), *limit))


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_plateau_schedule_hears_of_the_epoch_that_ended(bench: Bench, tmp_path: Path, epoch: int) -> None:
    schedule = {"lr_schedule": "plateau", "lr": "2.0", "plateau_patience": "0", "plateau_cooldown": "0"}
    plateau = [part for name, value in schedule.items() for part in (f"--model.{name}", value)]
    longer = [*plateau, "--trainer.max_epochs", "5"]
    never = finished(run_train(*options(bench, tmp_path / "a", *longer)), tmp_path / "a")
    assert never.checkpoint["lr_schedulers"][0]["_last_lr"][0] < 2
    stop = stopping(signal.SIGTERM, 0, epoch=epoch)
    stopped = broken_off(bench, tmp_path / "b", stop, *longer)
    assert stopped.checkpoint["lr_schedulers"] == never.checkpoint["lr_schedulers"]
    assert same_tensors(stopped.state, never.state)


def test_epoch_at_whose_end_a_run_stops_is_logged(bench: Bench, whole: Run, tmp_path: Path) -> None:
    stopped = broken_off(bench, tmp_path, stopping(signal.SIGTERM, 0, epoch=0))
    boards = [EventAccumulator(str(run.folder)).Reload() for run in (whole, stopped)]
    points = [[(point.step, point.value) for point in board.Scalars("loss/total")] for board in boards]
    assert points[0] == points[1]
    assert len(points[0]) == 3


def test_signal_of_an_earlier_run_is_forgotten() -> None:
    signals = StopSignals()
    for sent in (signal.SIGTERM, 0):
        signals.install()
        if sent:
            signal.raise_signal(sent)
        assert signals.received(torch.device("cpu")) == sent
        signals.restore()


def test_means_of_an_interrupted_epoch_count_once() -> None:
    means = RunningMeans(["loss"])
    means.update({"loss": torch.tensor(4.0)}, 2)
    sums = means.sums()
    means.go_on(sums)
    assert means.sums() == sums


def test_sound_checkpoint_is_not_replaced_by_a_damaged_one(bench: Bench, tmp_path: Path) -> None:
    run_train(*options(bench, tmp_path), *stopping(signal.SIGTERM, 6))
    folder = tmp_path / "uibe" / "version_0" / "checkpoints"
    damage(folder / "last.ckpt")
    full = '[{"class_path": "tests.interrupting.FullDisk", "init_args": {"epoch": 1, "num_bytes": 50000}}]'
    outcome = run_train(*options(bench, tmp_path), "--resume", "auto", "--trainer.callbacks", full)
    assert "cannot be written" in outcome.err
    assert torch.load(folder / "previous.ckpt", weights_only=True)["global_step"] == 4
