"""A clock that goes backwards, or a disk whose times are of another machine's."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_modules.resume import run_to_resume
from tests.running import Bench, Run, finished, quick, run_train, synthetic

DAY = 86_400


def resumed(runs: Path) -> tuple[str, str] | None:
    """Folder and file of the checkpoint to go on with."""
    config = next(runs.glob("uibe/*/config.yaml"))
    options: dict[str, Any] = yaml.safe_load(config.read_text())
    options["trainer"]["logger"]["init_args"]["save_dir"] = str(runs)
    found = run_to_resume(options)
    return None if found is None else (found.version, found.checkpoint.name)


@pytest.fixture
def runs(trained: Run, tmp_path: Path) -> Path:
    """Runs of the same options, of which version 10 is the latest, as all clocks but the disk's say."""
    for number in (2, 9, 10):
        folder = tmp_path / "uibe" / f"version_{number}"
        shutil.copytree(trained.folder, folder)
        for name in ("last.ckpt", "previous.ckpt"):
            stamp = time.time() - number * DAY + (DAY if name == "previous.ckpt" else 0)
            os.utime(folder / "checkpoints" / name, (stamp, stamp))
    return tmp_path


def test_the_latest_run_is_that_of_the_highest_number(runs: Path) -> None:
    assert resumed(runs) == ("version_10", "last.ckpt")


def test_times_in_the_future_change_nothing(runs: Path) -> None:
    os.utime(runs / "uibe/version_9/checkpoints/last.ckpt", (time.time() + DAY,) * 2)
    os.utime(runs / "uibe/version_10/checkpoints/previous.ckpt", (time.time() + 2 * DAY,) * 2)
    assert resumed(runs) == ("version_10", "last.ckpt")


def test_damaged_ones_are_passed_over_in_the_same_order(runs: Path) -> None:
    for expected in (("version_10", "previous.ckpt"), ("version_9", "last.ckpt")):
        newest = resumed(runs)
        assert newest is not None
        (runs / "uibe" / newest[0] / "checkpoints" / newest[1]).write_bytes(b"")
        assert resumed(runs) == expected


def test_other_checkpoints_come_between(runs: Path, trained: Run) -> None:
    folder = runs / "uibe" / "version_10" / "checkpoints"
    shutil.copy(trained.path, folder / "best.ckpt")
    assert resumed(runs) == ("version_10", "last.ckpt")
    (folder / "last.ckpt").unlink()
    assert resumed(runs) == ("version_10", "best.ckpt")


def test_names_without_numbers_are_ordered_by_time(runs: Path) -> None:
    shutil.rmtree(runs / "uibe" / "version_9")
    shutil.rmtree(runs / "uibe" / "version_10")
    (runs / "uibe" / "version_2").rename(runs / "uibe" / "mine")
    shutil.copytree(runs / "uibe" / "mine", runs / "uibe" / "yours")
    os.utime(runs / "uibe/yours/checkpoints/last.ckpt", (time.time() + DAY,) * 2)
    assert resumed(runs) == ("yours", "last.ckpt")


def test_training_does_not_ask_for_the_time(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(2_000_000_000, 0, -DAY))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    pictures = ["--figures.detectors", "2", "--figures.images", "2"]
    run = finished(run_train(*synthetic(bench.root, bench.cache), *quick(tmp_path), *pictures), tmp_path)
    assert all(torch.equal(run.state[name], tensor) for name, tensor in trained.state.items())
    assert run.dissection == trained.dissection
    assert run.folder.name == "version_0"
    monkeypatch.undo()
    longer = [*pictures, "--ckpt_path", run.path, "--trainer.max_epochs", "3"]
    assert run_train(*synthetic(bench.root, bench.cache), *quick(tmp_path), *longer).code == 0
