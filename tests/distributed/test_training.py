"""`train.py` on several processes learns what it learns on one, logs and draws the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.running import (
    Bench,
    Outcome,
    Run,
    finished,
    quick,
    run_evaluate,
    run_train,
    same_tensors,
    synthetic,
)
from uibe.data.convert import convert

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]
DEVICES = ["--trainer.accelerator", "cpu", "--trainer.precision", "64-true"]
# neither images nor batches can be divided evenly by 2 or 3
SIZES = ["--data.num_train", "25", "--data.num_val", "11", "--data.pixels_per_batch", "499"]
DRAWN = ["--figures.detectors", "2", "--figures.images", "2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]


@pytest.fixture(scope="module")
def own_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A set whose images no number of processes divides."""
    folder = tmp_path_factory.mktemp("uneven")
    return Bench(folder / "set", folder / "cache", folder / "runs")


def options(bench: Bench, runs: Path, *extra: str | Path) -> list[str]:
    """Of a fit in float64, where sums in another order differ by 1e-16."""
    return [*synthetic(bench.root, bench.cache), *quick(runs), *SIZES, *DEVICES, *DRAWN, *map(str, extra)]


def alone(bench: Bench, runs: Path, *extra: str) -> Run:
    """The fit of one process, in this one."""
    return finished(run_train(*options(bench, runs, *extra)), runs)


def several(bench: Bench, runs: Path, number: int, *extra: str, torchrun: bool = False) -> Run:
    """The same fit in several processes, started by torchrun or by Lightning."""
    command = [*TORCHRUN, str(number)] if torchrun else []
    strategy = ["--trainer.devices", str(number), "--trainer.strategy", "ddp"]
    return finished(
        started([*command, str(ROOT / "train.py"), "fit", *options(bench, runs, *strategy, *extra)]), runs
    )


def started(arguments: list[str]) -> Outcome:
    """Python with some arguments."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_same(left: Run, right: Run) -> None:
    """Weights to 1e-10, scores and pictures as well."""
    torch.testing.assert_close(left.state, right.state, rtol=1e-10, atol=1e-10)
    assert left.dissection["history"] == right.dissection["history"]
    assert left.checkpoint["global_step"] == right.checkpoint["global_step"] > 4
    logs = [EventAccumulator(str(run.folder), {"images": 0, "scalars": 0}).Reload() for run in (left, right)]
    for kind in ("scalars", "images"):
        assert logs[0].Tags()[kind] == logs[1].Tags()[kind]
    for tag in logs[0].Tags()["scalars"]:
        # thresholds start at pixels' own values, and rounding has a say in whether those fire at step 0
        accuracy = 1e-3 if tag == "detectors/firing_rate" else 1e-6  # the board keeps float32
        values = [[point.value for point in log.Scalars(tag)] for log in logs]
        assert values[0] == pytest.approx(values[1], rel=accuracy, abs=1e-9), tag
    for tag in logs[0].Tags()["images"]:
        pictures = [[image.encoded_image_string for image in log.Images(tag)] for log in logs]
        assert pictures[0] == pictures[1], tag


@pytest.fixture(scope="module")
def reference(own_bench: Bench) -> Run:
    """One process."""
    return alone(own_bench, own_bench.runs)


@pytest.mark.parametrize(("number", "torchrun"), [(2, True), (3, False)])
def test_same_as_one_process(
    own_bench: Bench, reference: Run, tmp_path: Path, number: int, torchrun: bool
) -> None:
    cache = tmp_path / "cache"  # filled by the processes together
    run = several(own_bench, tmp_path, number, "--data.cache_dir", str(cache), torchrun=torchrun)
    assert_same(reference, run)
    assert run.outcome.out.count("S1 and S2 on the validation split") == 1  # one process speaks
    assert "sync_dist" not in run.outcome.err


def test_checkpoint_of_two_processes_is_scored_by_one_and_by_three(
    own_bench: Bench, reference: Run, tmp_path: Path
) -> None:
    run = several(own_bench, tmp_path, 2)
    score = ["score", "--ckpt_path", str(run.path), "--out"]
    assert run_evaluate(*score, tmp_path / "one").code == 0
    three = started([*TORCHRUN, "3", str(ROOT / "evaluate.py"), *score, str(tmp_path / "three")])
    assert three.code == 0, three.err
    for name in ("metrics.json", "detectors.csv"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "three" / name).read_text()
    scores = json.loads((tmp_path / "three" / "metrics.json").read_text())
    assert scores["S1"] == run.dissection["history"][-1]["learned"]["S1"]


def test_other_commands_refuse_several_processes(reference: Run, tmp_path: Path) -> None:
    for command, path in (("compare", f"[{reference.path}]"), ("export", str(reference.path))):
        arguments = [command, "--ckpt_path", path, "--out", str(tmp_path / "out")]
        outcome = started([*TORCHRUN, "2", str(ROOT / "evaluate.py"), *arguments])
        assert outcome.code != 0
        assert f"error: evaluate.py {command}: runs in one process" in outcome.err


def test_signal_to_one_process_stops_all_and_the_run_goes_on(
    own_bench: Bench, reference: Run, tmp_path: Path
) -> None:
    init = '{"number": 15, "step": 2, "rank": 1}'
    stop = f'[{{"class_path": "tests.interrupting.SignalAt", "init_args": {init}}}]'
    strategy = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.passes_per_epoch", "30"]
    arguments = ["fit", *options(own_bench, tmp_path, *strategy)]
    stopped = started(["train.py", *arguments, "--trainer.callbacks", stop])
    assert stopped.code == 128 + 15
    kept = torch.load(tmp_path / "uibe/version_0/checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == 8
    again = finished(started(["train.py", *arguments, "--resume", "auto"]), tmp_path)
    never = finished(
        started(["train.py", "fit", *options(own_bench, tmp_path / "never", *strategy)]), tmp_path / "never"
    )
    assert same_tensors(again.state, never.state)
    assert again.dissection == never.dissection


@pytest.mark.parametrize(
    "extra",
    [
        ("--data.cache", "false", "--data.pixels_per_batch", "180"),
        ("--model.start", "kmeans", "--model.standardization", "whiten", "--model.fused", "false"),
        ("--model", "lightning_modules.SupervisedModule", "--model.min_frequency", "1"),
    ],
    ids=["uncached", "kmeans", "supervised"],
)
def test_same_as_one_process_in_other_settings(
    own_bench: Bench, reference: Run, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    one = alone(own_bench, tmp_path / "one", *extra)
    assert_same(one, several(own_bench, tmp_path / "two", 2, *extra))


def test_same_from_shards(own_bench: Bench, reference: Run, tmp_path: Path) -> None:
    convert(str(own_bench.root), str(tmp_path / "shards"))
    data = ["--data", "datamodules.StreamingBrodenDataModule", "--data.root", str(tmp_path / "shards")]
    same = ["--data.passes_per_epoch", "4", "--data.cache_dir", str(tmp_path / "cache")]
    strategy = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.pixels_per_batch", "499"]
    arguments = [*data, *same, *quick(tmp_path), *strategy, *DEVICES, *DRAWN]
    arguments += ["--data.pixels_per_batch", "499"]
    run = finished(started(["train.py", "fit", *arguments]), tmp_path)
    assert_same(reference, run)


def test_more_processes_than_images_are_refused(own_bench: Bench, reference: Run, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="cannot be shared by 2 processes"):
        several(own_bench, tmp_path, 2, "--data.pixels_per_batch", "1")
