"""The training-step benchmark runs small and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_variant_is_measured_against_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "step.json"
    options = ["--dim", "[8]", "--pixels", "64", "--threads", "1", "--repeats", "2", "--json", str(file)]
    command = [sys.executable, str(ROOT / "benchmarks" / "train_step.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = {row["variant"]: row for row in content["rows"]}
    assert set(rows) == {"limit", "fused, polynomial (default)", "fused, cayley", "plain, cayley"}
    assert rows["limit"]["ratio_to_limit"]["median"] == 1.0
    assert all(row["ratio_to_limit"]["median"] > 0 for row in rows.values())
    assert all(row["orthogonality_error"] < 1e-5 for row in rows.values())
    assert content["options"]["pixels"] == 64
    assert content["machine"]["threads"] == 1
