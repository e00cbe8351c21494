"""The scale benchmark runs small, each size in its own processes, and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_sizes_are_trained_and_dissected(tmp_path: Path) -> None:
    file, folder = tmp_path / "scale.json", tmp_path / "generated"
    folder.mkdir()
    sizes = ["--images", "200", "--fractions", "[0.5,1]", "--dim", "64", "--size", "2", "--dtype", "bfloat16"]
    work = ["--pixels", "32", "--epochs", "1", "--steps", "3", "--threads", "1", "--shuffle_megabytes", "1"]
    options = [*sizes, *work, "--dir", str(folder), "--json", str(file)]
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = {(row["work"], row["images"]): row for row in content["rows"]}
    assert set(rows) == {(work, images) for work in ("training", "dissection") for images in (100, 200)}
    assert rows["training", 100]["pixels"] == 3 * 32
    assert rows["dissection", 100]["pixels"] == 100 * 4
    assert rows["dissection", 200]["of_largest"] == 1
    assert all(row["microseconds_a_pixel"]["median"] > 0 for row in content["rows"])
    assert all(100 < row["peak_megabytes"] < 3000 for row in content["rows"])
