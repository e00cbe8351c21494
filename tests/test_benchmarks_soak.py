"""The soak watches a short run, and says so when something grows."""

import csv
import importlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from uibe.errors import ConfigError

ROOT = Path(__file__).parents[1]
EPOCHS = 12


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("soak")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """What was measured over a few epochs."""
    out = tmp_path_factory.mktemp("soak")
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--out", str(out)]
    command += ["--epochs", str(EPOCHS), "--warm_up", "8", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)
    assert "12 epochs" in done.stdout, done.stderr
    assert (out / "soak.png").stat().st_size > 10_000
    with (out / "soak.csv").open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_every_epoch_is_measured(rows: list[dict[str, float]]) -> None:
    assert [row["epoch"] for row in rows] == list(range(EPOCHS))
    assert all(100 < row["own_mb"] < row["rss_mb"] for row in rows)
    assert all(row["processes"] >= 1 for row in rows)


@pytest.mark.parametrize("name", ["files", "threads", "processes"])
def test_nothing_stays_open(rows: list[dict[str, float]], name: str) -> None:
    # one left behind by each epoch would be eight more in the end
    assert rows[-1][name] < rows[2][name] + 5


def test_logs_grow_by_a_bounded_amount(rows: list[dict[str, float]]) -> None:
    steps = [after["events_kb"] - before["events_kb"] for before, after in pairwise(rows)]
    # the ninth and the eleventh dissection have neither pictures nor histograms
    assert max(steps[7], steps[9]) < 10 < steps[8] < 1500


def test_checkpoints_grow_by_a_bounded_amount(rows: list[dict[str, float]]) -> None:
    assert rows[-1]["checkpoint_kb"] - rows[4]["checkpoint_kb"] < 8 * (EPOCHS - 5)


def _steady(soak: ModuleType, **growing: float) -> list[dict[str, float]]:
    return [{name: 50.0 + growing.get(name, 0.0) * epoch for name in soak.BOUNDS} for epoch in range(20)]


def test_slopes_leave_out_the_warm_up_and_single_peaks(soak: ModuleType) -> None:
    rows = _steady(soak, own_mb=0.25)
    rows[0]["own_mb"], rows[12]["files"] = 900.0, 900.0
    slopes = soak.growth(rows, 5)
    assert slopes["own_mb"] == pytest.approx(0.25)
    assert slopes["files"] == 0.0


def _report(soak: ModuleType, rows: list[dict[str, float]]) -> None:
    soak._report([{**row, "seconds": 1.0} for row in rows], soak.growth(rows, 5))


@pytest.mark.parametrize("name", ["own_mb", "files", "threads", "processes", "events_kb", "checkpoint_kb"])
def test_a_leak_of_each_kind_fails(soak: ModuleType, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        _report(soak, _steady(soak, **{name: 20.0}))
    assert end.value.code == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "GROWS" in line] == [name]


def test_steady_figures_pass(soak: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    _report(soak, _steady(soak))
    assert capsys.readouterr().out.count(": ok") == len(soak.BOUNDS)


def test_too_short_a_run_is_refused(soak: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two epochs after it, got 1"):
        soak.main(str(tmp_path / "out"), epochs=4, warm_up=3)
    assert not (tmp_path / "out").exists()


def test_children_are_counted(soak: ModuleType) -> None:
    alone = soak.footprint()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        both = soak.footprint()
        child.communicate(b"\n")
    assert both.processes == alone.processes + 1
    assert both.files > alone.files
    assert both.rss_mb > alone.rss_mb
