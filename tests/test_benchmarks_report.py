"""The report's benchmark opens a page on both screens and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.pages import write_report

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="needs Debian's Chromium")
def test_events_are_measured_on_both_screens(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_report(tmp_path / "made", 3)
    options = ["--report", str(tmp_path / "made"), "--repeats", "1", "--json", str(file)]
    command = [sys.executable, str(ROOT / "benchmarks" / "report_page.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert {(row["screen"], row["event"]) for row in rows} == {
        (screen, event) for screen in ("desktop", "phone") for event in ("DOMContentLoaded", "load")
    }
    assert all(row["milliseconds"]["median"] > 0 and 0 < row["megabytes"] < 1 for row in rows)
