"""The benchmark of the tally runs small, and its counts are those of the rule or it ends."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_tally_is_measured_against_the_rule(tmp_path: Path) -> None:
    file = tmp_path / "tally.json"
    options = ["--images", "6", "--quantiles", "[0.05,0.3]", "--threads", "2", "--repeats", "1"]
    command = [sys.executable, str(ROOT / "benchmarks" / "tally.py"), *options, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text(encoding="utf-8"))
    cases = [(row["quantile"], row["case"]) for row in content["rows"]]
    kinds = ("rule", "ours, cold", "ours, warm")
    assert cases[:-1] == [(quantile, case) for quantile in ("0.05", "0.3") for case in kinds]
    assert cases[-1] == ("0.05 and 0.05", "dissection of an epoch")
    assert content["rows"][0]["rule_over_case"]["median"] == 1.0
    assert content["rows"][3]["maps_above"] >= content["rows"][0]["maps_above"] > 0
    assert content["options"]["images"] == 6
    assert content["machine"]["threads"] == 2
