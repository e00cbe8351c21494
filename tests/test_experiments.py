"""All combinations run, what is done is skipped, a failure is named and leaves the others."""

import csv
import json
from pathlib import Path

import pytest

import experiments
from tests.running import Bench, Outcome, Run, run

ROOT = Path(__file__).parents[1]


def write(folder: Path, part: str, name: str, text: str) -> None:
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / f"{name}.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def configs(bench: Bench, trained: Run, tmp_path: Path) -> Path:  # the fit renders the set
    folder = tmp_path / "configs"
    data = {"root": str(bench.root), "cache_dir": str(bench.cache), "pixels_per_batch": 512}
    small = {"class_path": "datamodules.BrodenDataModule", "init_args": data}
    write(folder, "data", "small", json.dumps({"data": small, "trainer": {"max_epochs": 1}}))
    model = {"class_path": "lightning_modules.BasisModule", "init_args": {"image_size": 48}}
    write(folder, "backbone", "cnn", json.dumps({"model": model}))
    write(folder, "layer", "four", json.dumps({"model": {"init_args": {"layer": "features.4"}}}))
    return folder


def experiment(configs: Path, *extra: str) -> Outcome:
    compare = ["--replicates=5", "--random_seeds=1", "--threshold_steps=2", "--shares=[0.005,0.05]"]
    train = ["--figures.detectors=0", "--trainer.enable_progress_bar=false"]
    options = ["--compare_options", json.dumps(compare), "--train_options", json.dumps(train)]
    place = ["--configs", str(configs), "--out", str(configs.parent / "out"), "--bases", "[natural]"]
    return run(experiments.main, [*place, *options, *extra])


def test_done_is_skipped_and_a_failure_leaves_the_rest(configs: Path) -> None:
    out = configs.parent / "out"
    first = experiment(configs)
    assert first.code == 0, first.err
    basis = out / "small-cnn-four" / "basis.ckpt"
    written = basis.stat().st_mtime_ns, (out / "small-cnn-four/compare/compare.json").stat().st_mtime_ns
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| small-cnn-four | natural |" in table

    write(configs, "layer", "none", json.dumps({"model": {"init_args": {"layer": "features.99"}}}))
    second = experiment(configs)
    assert second.code != 0
    assert "small-cnn-none failed" in second.err
    now = basis.stat().st_mtime_ns, (out / "small-cnn-four/compare/compare.json").stat().st_mtime_ns
    assert now == written
    assert not (out / "small-cnn-none" / "basis.ckpt").exists()
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        assert {row["experiment"] for row in csv.DictReader(file)} == {"small-cnn-four"}


def test_an_unknown_name_is_refused(configs: Path) -> None:
    outcome = experiment(configs, "--layer", "[five]")
    assert outcome.code != 0
    assert "expected names among four, got ['five']" in outcome.err


def test_the_shipped_matrix_is_two_backbones_three_layers_two_sets() -> None:
    folder = ROOT / "configs" / "experiments"
    found = {part: sorted(path.stem for path in (folder / part).glob("*.yaml")) for part in experiments.PARTS}
    assert found == {
        "data": ["broden_mini", "synthetic"],
        "backbone": ["efficientnet_lite0", "efficientnet_lite1"],
        "layer": ["blocks.4", "blocks.6", "bn2"],
    }
