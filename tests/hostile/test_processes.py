"""Processes that are killed, and processes that do the same thing at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import get_worker_info

from tests.hostile.faults import limited_time
from tests.running import (
    Bench,
    Outcome,
    Run,
    finished,
    quick,
    run_evaluate,
    run_train,
    same_tensors,
    synthetic,
)
from uibe.data import features
from uibe.data.features import _ImageRows
from uibe.data.pixels import PixelDataset
from uibe.modules.tensor_file import write_tensors
from uibe.peers.store import load_peer, save_peer
from uibe.report.files import write_text

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_killed_worker_is_one_line(
    number: int, bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: object, i: object) -> object:
        if get_worker_info() is not None:  # as the kernel does when memory runs out
            os.kill(os.getpid(), number)
        return self

    monkeypatch.setattr(PixelDataset, "__getitem__", killed)
    runs = tmp_path / "runs"
    given = [*synthetic(bench.root, bench.cache), *quick(runs), "--data.num_workers", "1"]
    outcome = run_train(*given)
    dead_worker_is_told(outcome, runs)


PHASES: dict[str, Callable[[Any, Any], bool]] = {
    "before the first step": lambda rows, positions: True,
    "in a step": lambda rows, positions: isinstance(positions, torch.Tensor),  # shuffled
    "in dissection": lambda rows, positions: rows.images.index.rows[rows.rows[0]].split == "val",
}


@pytest.mark.parametrize("phase", PHASES)
def test_killed_worker_that_decodes_images_is_one_line(
    phase: str, bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, is_time = _ImageRows.__getitem__, PHASES[phase]

    def killed(self: _ImageRows, positions: Any) -> torch.Tensor:  # noqa: ANN401 - indices of any kind
        if get_worker_info() is not None and is_time(self, positions):
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, positions)

    monkeypatch.setattr(features, "_ImageRows", type("_ImageRows", (_ImageRows,), {"__getitem__": killed}))
    options = ["--data.cache", "false", "--data.num_workers", "1"]
    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs"), *options]
    with limited_time(200):
        outcome = run_train(*given)
    killed_worker_is_told(outcome, tmp_path)


def test_killed_worker_of_an_evaluation_is_one_line(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: object, positions: object) -> object:
        if get_worker_info() is not None:
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    monkeypatch.setattr(_ImageRows, "__getitem__", killed)
    content = trained.checkpoint
    content["datamodule_hyper_parameters"] |= {"cache": False, "num_workers": 1}
    torch.save(content, tmp_path / "a.ckpt")
    with limited_time(200):
        outcome = run_evaluate("score", "--ckpt_path", tmp_path / "a.ckpt", "--out", tmp_path / "out")
    killed_worker_is_told(outcome, tmp_path)
    assert not list((tmp_path / "out").glob("*"))


def killed_worker_is_told(outcome: Outcome, folder: Path) -> None:
    """One line, and it was the kill that ended the command."""
    assert (folder / "killed").exists()
    dead_worker_is_told(outcome, folder)


def dead_worker_is_told(outcome: Outcome, folder: Path) -> None:
    """In one line; nothing partial is left."""
    assert outcome.code == 1
    line = outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err
    assert line.startswith("error: DataLoader worker")
    assert "data.num_workers" in line
    assert not list(folder.rglob("*.partial"))


def test_run_whose_worker_was_killed_goes_on(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = PixelDataset.__getitem__

    def killed(self: PixelDataset, i: Any) -> torch.Tensor:  # noqa: ANN401 - indices of any kind
        info = get_worker_info()
        if info is not None and (tmp_path / "runs/uibe/version_0/checkpoints/last.ckpt").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, i)

    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs"), "--data.num_workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(PixelDataset, "__getitem__", killed)
        outcome = run_train(*given)
    assert outcome.code == 1
    assert "--resume auto" in outcome.err
    again = finished(run_train(*given, "--resume", "auto"), tmp_path / "runs")
    assert again.folder.name == "version_0"
    assert same_tensors(again.state, trained.state)


def start(bench: Bench, cache: Path, runs: Path) -> subprocess.Popen[str]:
    """A training in a process of its own."""
    program = [sys.executable, str(ROOT / "train.py"), "fit"]
    return subprocess.Popen(
        [*program, *synthetic(bench.root, cache), *quick(runs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def ended(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=500)
    return Outcome(process.returncode, out, err)


def test_two_runs_fill_one_cache_at_once_and_one_may_be_killed(
    bench: Bench, trained: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first, second, third = (start(bench, cache, tmp_path / name) for name in ("a", "b", "c"))
    deadline = time.monotonic() + 300
    while not list(cache.glob(".*")) and not list(cache.glob("*")):  # one has begun to fill it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    third.kill()
    third.communicate()
    for process, name in ((first, "a"), (second, "b")):
        run = finished(ended(process), tmp_path / name)
        assert same_tensors(run.state, trained.state)
    (folder,) = [path for path in cache.iterdir() if not path.name.startswith(".")]
    for path in folder.iterdir():
        assert path.read_bytes() == (bench.cache / folder.name / path.name).read_bytes()


def _peers(path: Path, value: float, times: int) -> None:
    for _ in range(times):
        save_peer(path, torch.full((64, 64), value), torch.full((64,), value), 5)


def _texts(path: Path, value: float, times: int) -> None:
    for _ in range(times):
        write_text(path, f"{value}\n" * 5000)


@pytest.mark.parametrize("write", [_peers, _texts])
def test_two_writers_of_one_file_leave_one_whole_file(write: object, tmp_path: Path) -> None:
    path = tmp_path / ("x.safetensors" if write is _peers else "x.txt")
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(path, value, 200)) for value in (1.0, 2.0)]  # type: ignore[arg-type]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            if write is _peers:
                directions, thresholds, _ = load_peer(path)
                assert directions.unique().numel() == thresholds.unique().numel() == 1
            else:
                assert len(set(path.read_text().split())) == 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04])
def test_a_killed_writer_leaves_a_whole_file(delay: float, tmp_path: Path) -> None:
    path, old, new = tmp_path / "x.safetensors", torch.ones(2), torch.zeros(2**24)
    write_tensors(path, {"x": old}, {})
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=write_tensors, args=(path, {"x": new}, {}))
    writer.start()
    time.sleep(delay)
    writer.kill()
    writer.join()
    found = load_file(path)["x"]
    assert torch.equal(found, new if len(found) > len(old) else old)
    write_tensors(path, {"x": new}, {})  # what was left does not stand in the way
    assert torch.equal(load_file(path)["x"], new)
