"""A disk that is full, that cannot be written, or whose files go: one line, and nothing half there."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

import uibe
from callbacks.checkpoint import RunCheckpoint
from tests.hostile.faults import DEEDS, files, full_disk, read_only
from tests.running import Bench, Outcome, Run, broden, finished, quick, run_evaluate, run_train, synthetic
from uibe.data.broden import BrodenDataset
from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.index import BrodenIndex
from uibe.errors import DataError, MismatchError
from uibe.modules.tensor_file import write_tensors

QUICK = ["--replicates", "2"]
COMMANDS: dict[str, list[str]] = {
    "score": [],
    "export": QUICK,
    "report": QUICK,
    "compare": [*QUICK, "--threshold_steps", "2", "--shares", "0.05", "--bases", "natural"],
    "explain": QUICK,
}


def one_line(outcome: Outcome, *mentions: str) -> None:
    """A failure that is explained."""
    assert outcome.code == 1, outcome.err + outcome.out
    lines = outcome.err.splitlines()
    assert lines[-1].startswith("error: "), outcome.err
    assert "Traceback" not in outcome.err
    for mention in mentions:
        assert mention in lines[-1]


def evaluated(command: str, trained: Run, bench: Bench, out: Path) -> Outcome:
    """One of the commands, small."""
    images = sorted((bench.root / "images").rglob("*.jpg"))[:1]
    image: list[str | Path] = ["--image", *images] if command == "explain" else []
    return run_evaluate(command, "--ckpt_path", trained.path, "--out", out, *COMMANDS[command], *image)


@pytest.mark.parametrize("command", COMMANDS)
def test_full_disk_leaves_no_half_result(command: str, trained: Run, bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if command == "compare":  # so that its peers are there
        assert evaluated(command, trained, bench, tmp_path / "before").code == 0
    with full_disk(300):
        outcome = evaluated(command, trained, bench, out)
    one_line(outcome, str(out), "cannot be written")
    assert not [path for path in out.rglob("*") if path.is_file() and path.stat().st_size in (0, 300)]


@pytest.mark.parametrize("command", COMMANDS)
def test_folder_that_cannot_be_written_is_named(
    command: str, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with read_only(out):
        outcome = evaluated(command, trained, bench, out)
    one_line(outcome, str(out), "Permission denied")
    assert not list(out.rglob("*"))


def test_folder_below_one_that_cannot_be_written(trained: Run, tmp_path: Path) -> None:
    with read_only(tmp_path):
        outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path / "new" / "out")
    one_line(outcome, str(tmp_path / "new"), "Permission denied")


FAULTS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "full": lambda _: full_disk(100),
    "read-only": read_only,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_runs_need_a_disk(fault: str, bench: Bench, trained: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with FAULTS[fault](runs):
        outcome = run_train(*synthetic(bench.root, bench.cache), *quick(runs))
    one_line(outcome, str(runs))
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("fault", FAULTS)
def test_caches_need_a_disk(fault: str, bench: Bench, trained: Run, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    with FAULTS[fault](cache):
        outcome = run_train(*synthetic(bench.root, cache), *quick(tmp_path / "runs"))
    one_line(outcome, str(cache), "cannot be written", "free space or choose another folder")
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("fault", FAULTS)
def test_rendering_needs_a_disk(fault: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with FAULTS[fault](place):
        outcome = run_train(*synthetic(place / "set", tmp_path / "cache"), *quick(tmp_path / "runs"))
    one_line(outcome, str(place))
    assert not (place / "set" / "index.csv").exists()


def test_result_that_was_there_stays(trained: Run, bench: Bench, tmp_path: Path) -> None:
    assert evaluated("score", trained, bench, tmp_path).code == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(300):
        one_line(evaluated("score", trained, bench, tmp_path), "cannot be written")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_tensors_that_were_there_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.ones(3)}, {})
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(DataError, match=r"a\.safetensors: cannot be written"):
        write_tensors(path, {"x": torch.ones(10_000)}, {})
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.read_bytes() == before


def test_shared_folder_needs_a_disk(trained: Run, tmp_path: Path) -> None:
    detector = uibe.load(trained.path)
    with full_disk(500), pytest.raises(DataError, match=r"basis\.safetensors: cannot be written"):
        detector.save(tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("deed", DEEDS)
def test_cache_that_goes_during_a_run_is_one_line(
    deed: str, bench: Bench, trained: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    init = {"step": 3, "what": deed, "path": str(cache)}
    spoiler = json.dumps([{"class_path": "tests.hostile.faults.Meanwhile", "init_args": init}])
    small = ["--data.shuffle_megabytes", "1", "--data.pixels_per_batch", "200"]
    given = [*synthetic(bench.root, cache), *quick(tmp_path / "runs"), *small]
    outcome = run_train("fit", *given, "--trainer.callbacks", spoiler)
    one_line(outcome, str(cache), "features-", "rerun")
    for path in files(cache):  # what is not whole is refused by the next run, until it is deleted
        path.unlink()
    gone = run_train("fit", *given)
    one_line(gone, str(cache), "delete the folder")


def test_cache_is_refused_once_it_changed(tmp_path: Path) -> None:
    key = CacheKey(dtype="float32")
    cache = fill(tmp_path, key, 4, [torch.rand(4, 3, 2, 2)])
    cache.features([0])
    (path,) = files(tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    for read in (lambda: cache.features([0]), lambda: cache.pixels([0])):
        with pytest.raises(MismatchError, match=r"features-00000\.npy: changed while in use"):
            read()
    FeatureCache.open(tmp_path, key).features([0])
    path.unlink()
    for read in (lambda: cache.features([0]), lambda: cache.pixels([0])):
        with pytest.raises(MismatchError, match=r"features-00000\.npy: No such file .*gone while in use"):
            read()


def test_image_that_vanishes_after_the_index_was_read(broden_root: Path) -> None:
    images = BrodenDataset(BrodenIndex.read(broden_root), transform=lambda image: torch.zeros(1))
    (broden_root / "images" / "b" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"b/2\.jpg .*line 4\): no such file; restore the file"):
        images[2]
    (broden_root / "images" / "a" / "0_part.png").unlink()
    with pytest.raises(DataError, match=r"a/0_part\.png .*line 2\): no such file"):
        images[0]


def test_image_that_vanishes_while_features_are_computed(
    broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = BrodenDataset.image

    def vanishing(self: BrodenDataset, i: int) -> object:
        (broden_root / "images" / "b" / "2.jpg").unlink(missing_ok=True)
        return read(self, i)

    monkeypatch.setattr(BrodenDataset, "image", vanishing)
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    one_line(outcome, "b/2.jpg", "no such file")
    assert not list(tmp_path.rglob("features*"))


def test_second_name_of_a_checkpoint_needs_no_links(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    run = finished(run_train(*synthetic(bench.root, bench.cache), *quick(tmp_path)), tmp_path)
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert RunCheckpoint().path.name == "last.ckpt"
