"""The study of label-free criteria runs small and ranks all figures."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_figure_has_a_rank_correlation(tmp_path: Path) -> None:
    file = tmp_path / "criterion.json"
    options = [
        "--runs",
        "2",
        "--images",
        "24",
        "--passes_per_epoch",
        "1",
        "--threads",
        "1",
        "--json",
        str(file),
    ]
    command = [sys.executable, str(ROOT / "benchmarks" / "criterion.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    figures = {row["figure"] for row in content["rows"]}
    assert {"information", "sparsity", "usage", "kurtosis", "stability", "loss/total"} <= figures
    assert all(-1 <= row["S2 area"] <= 1 for row in content["rows"])
    assert len(content["options"]["results"]) == 2
    assert all(0 < each["stability"] <= 1.0001 for each in content["options"]["results"])
