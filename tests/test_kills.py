"""A run killed at random moments, again and again, ends as the run that nothing killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.running import Bench, Outcome, finished, quick, run_train, synthetic
from tests.test_resume import assert_same

KILLS = 24
ROOT = Path(__file__).parents[1]


def options(bench: Bench, runs: Path) -> list[str]:
    """Of a run of 120 epochs of 4 steps, with checkpoints within them."""
    own = ["--data.pixels_per_batch", "700", "--data.passes_per_epoch", "4", "--trainer.max_epochs", "120"]
    often = ["--checkpoint.every_steps", "3", "--dissection.every_n_epochs", "3"]
    return ["fit", *synthetic(bench.root, bench.cache), *quick(runs), *own, *often]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """The run, which goes on where an earlier one was killed."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments, "--resume", "auto"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def newest(runs: Path) -> float:
    """When the last checkpoint was written, 0 before the first."""
    return max((path.stat().st_mtime for path in runs.glob("*/*/checkpoints/last.ckpt")), default=0.0)


def wait_for_progress(process: subprocess.Popen[str], runs: Path) -> None:
    """Until the run has written a checkpoint, or has ended."""
    before, patience = newest(runs), time.monotonic() + 120
    while newest(runs) == before and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.01)


@pytest.mark.kill
def test_killed_at_random_moments(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    never = finished(run_train(*options(bench, tmp_path / "never")), tmp_path / "never")
    runs, draw, moments = tmp_path / "killed", random.Random(0), []
    for number in range(KILLS):
        process = start(options(bench, runs))
        if number % 4:  # the others may be killed while they start
            wait_for_progress(process, runs)
        time.sleep(draw.uniform(0, 0.5) if number % 4 else draw.uniform(0, 9))
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
        moments.append(len(list(runs.glob("*/*/checkpoints/*.ckpt"))))
    last = start(options(bench, runs))
    out, err = last.communicate(timeout=600)
    assert_same(never, finished(Outcome(last.returncode, out, err), runs))
    with capsys.disabled():
        sys.stdout.write(f"\n{KILLS} kills; checkpoints there after each: {moments}\n")
