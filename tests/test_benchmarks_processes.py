"""The benchmark of processes runs small and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.distributed
def test_every_case_is_measured_against_one_process(tmp_path: Path) -> None:
    file = tmp_path / "processes.json"
    options = ["--dim", "[8]", "--pixels", "[64]", "--steps", "2", "--rounds", "2", "--json", str(file)]
    command = [sys.executable, str(ROOT / "benchmarks" / "processes.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["case"]: row for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert set(rows) == {"one", "apart", "together", "together, no buffers sent"}
    assert rows["one"]["ratio_to_one"]["median"] == 1.0
    assert all(row["milliseconds"]["median"] > 0 for row in rows.values())
