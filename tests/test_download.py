"""Both command lines with data that is elsewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback, serve
from tests.running import broden, finished, quick, run_evaluate, run_train
from uibe.data import remote


@pytest.fixture
def server(broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(remote.RemoteFile.__init__, "__defaults__", (1, 0.001, 20.0))
    shutil.make_archive(str(tmp_path / "served" / "set"), "zip", broden_root)
    with serve(tmp_path / "served") as running:
        yield running


def test_fit_fetches_what_is_missing_and_evaluation_does_not(server: Loopback, tmp_path: Path) -> None:
    root, place = tmp_path / "data" / "set", ["--data.url", f"{server.url}/set.zip"]
    args = [*broden(root, tmp_path / "cache"), "--data.download", "224", *place, *quick(tmp_path / "runs")]
    for _ in range(2):
        run = finished(run_train(*args), tmp_path / "runs")
    assert len(server.gets()) == 1
    assert run.checkpoint["datamodule_hyper_parameters"]["download"] == 224
    score = ["score", "--ckpt_path", run.path, "--out", tmp_path / "out"]
    assert run_evaluate(*score).code == 0
    shutil.rmtree(root)
    outcome = run_evaluate(*score)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {root}: no such folder")
    assert len(server.gets()) == 1


def test_config_may_name_the_release(server: Loopback, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "data:\n  class_path: datamodules.BrodenDataModule\n  init_args:\n"
        f"    root: {tmp_path}/set\n    download: 384\n    url: {server.url}/set.zip\n"
        f"    cache_dir: {tmp_path}/cache\n"
    )
    finished(run_train("fit", "--config", config, *quick(tmp_path / "runs")), tmp_path / "runs")


def test_unknown_release_is_a_usage_error(tmp_path: Path) -> None:
    outcome = run_train(*broden(tmp_path / "set", tmp_path), "--data.download", "225", *quick(tmp_path))
    assert outcome.code == 2
    assert "225" in outcome.err


def test_missing_data_says_how_to_fetch_it(tmp_path: Path) -> None:
    outcome = run_train(*broden(tmp_path / "set", tmp_path), *quick(tmp_path))
    assert outcome.code == 1
    assert "set: no such folder" in outcome.err
    assert "--data.download 224" in outcome.err


def test_server_that_lacks_the_file_is_one_line(server: Loopback, tmp_path: Path) -> None:
    args = [*broden(tmp_path / "set", tmp_path), "--data.url", f"{server.url}/none.zip", *quick(tmp_path)]
    outcome = run_train(*args)
    assert outcome.code == 1
    (line,) = outcome.err.strip().splitlines()[-1:]
    assert line.startswith(f"error: {server.url}/none.zip: ")
    assert "no such file" in line
    assert "by hand: fetch" in line
