"""The extraction benchmark runs small and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.builders import write_broden

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("given", [True, False])
def test_pipeline_is_measured_against_the_bare_backbone(tmp_path: Path, given: bool) -> None:
    file = tmp_path / "extract.json"
    root = ["--root", str(write_broden(tmp_path / "set"))] if given else []
    network = ["--backbone", "uibe.modules.small_cnn:small_cnn", "--weights", "package:uibe.assets"]
    sizes = ["--layer", "[features.3,features.4]", "--image_size", "32", "--batch_size", "[2]"]
    options = [
        *root,
        *network,
        *sizes,
        "--images",
        "3",
        "--threads",
        "1",
        "--repeats",
        "2",
        "--json",
        str(file),
    ]
    command = [sys.executable, str(ROOT / "benchmarks" / "extract.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = {(row["layer"], row["case"]): row for row in content["rows"]}
    assert len(rows) == 6
    assert rows["features.3", "bare backbone"]["bare_over_case"]["median"] == 1.0
    assert all(row["images_a_second"]["median"] > 0 for row in content["rows"])
    assert content["options"]["images"] == 3
    assert content["machine"]["threads"] == 1
