"""What earlier code wrote is still read, and the versions that are named agree with each other."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import uibe
from lightning_modules.checkpoint import basis_from, module_from, read_checkpoint
from tests.running import Run, run_evaluate, run_train
from uibe.errors import ConfigError
from uibe.library.checkpoint import CHECKPOINT_FORMAT
from uibe.modules.basis import InterpretableBasis

ROOT = Path(__file__).parents[1]
FIRST = ROOT / "tests" / "fixtures" / "issue1"


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    """What the first code gave."""
    return load_file(FIRST / "expected.safetensors")


def close(actual: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-5)


def test_new_checkpoints_carry_the_format(trained: Run) -> None:
    assert trained.checkpoint["uibe"]["format"] == CHECKPOINT_FORMAT == 2
    assert read_checkpoint(FIRST / "last.ckpt")["uibe"]["format"] == 1


def test_first_checkpoint_gives_the_same_detectors(expected: dict[str, torch.Tensor]) -> None:
    checkpoint = read_checkpoint(FIRST / "last.ckpt")
    detectors = basis_from(checkpoint).detectors()
    close(expected["features"] @ detectors.directions.T, expected["projections"])
    close(detectors.thresholds, expected["thresholds"])
    with torch.no_grad():
        close(module_from(checkpoint).basis(expected["features"]), expected["logits"])


def test_first_checkpoint_is_loaded_as_a_library(expected: dict[str, torch.Tensor]) -> None:
    detector = uibe.load(FIRST / "last.ckpt")
    images = (torch.arange(2 * 3 * 48 * 48).reshape(2, 3, 48, 48) * 37 % 101) / 25 - 2
    close(detector.basis.transform(detector.backbone.features(images)), expected["scores"])


def test_first_exported_basis_is_read(expected: dict[str, torch.Tensor]) -> None:
    detectors = InterpretableBasis.load(FIRST / "basis.safetensors").detectors()
    close(expected["features"] @ detectors.directions.T, expected["projections"])
    close(detectors.thresholds, expected["thresholds"])


def test_first_export_says_what_it_lacks() -> None:
    with pytest.raises(ConfigError, match=r"without config\.json.*export its checkpoint again"):
        uibe.load(FIRST)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the first run's data, which the checkpoint names by relative paths."""
    shutil.unpack_archive(FIRST / "set.zip", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_checkpoint_has_the_same_scores(place: Path) -> None:
    outcome = run_evaluate("score", "--ckpt_path", FIRST / "last.ckpt", "--out", "score")
    assert outcome.code == 0, outcome.err
    found = json.loads((place / "score" / "metrics.json").read_text(encoding="utf-8"))
    _agrees(found, json.loads((FIRST / "metrics.json").read_text(encoding="utf-8")))


def _agrees(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if isinstance(value, dict):
            _agrees(found[name], value)
        else:
            assert found[name] == pytest.approx(value, rel=1e-6), name


def test_first_run_goes_on_as_the_first_code_did(place: Path, expected: dict[str, torch.Tensor]) -> None:
    options = {
        "model.layer": "features.2",
        "model.image_size": "48",
        "data.root": "set",
        "data.num_train": "24",
        "data.num_val": "12",
        "data.render_size": "48",
        "data.mask_size": "24",
        "data.pixels_per_batch": "512",
        "figures.detectors": "0",
        "board.projector": "0",
        "forming.detectors": "0",
        "trainer.max_epochs": "3",
        "trainer.enable_progress_bar": "false",
        "ckpt_path": str(FIRST / "last.ckpt"),
    }
    outcome = run_train(*(word for name, value in options.items() for word in (f"--{name}", value)))
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""  # nothing that a user could take for a fault
    run = Run(outcome, place / "runs" / "uibe" / "version_0")
    assert [entry["epoch"] for entry in run.dissection["history"]] == [0, 1, 2]
    close(run.state["basis.thresholds"], expected["resumed_thresholds"])
    close(run.state["basis.rotation.base"], expected["resumed_base"])
    assert run.checkpoint["uibe"]["format"] == CHECKPOINT_FORMAT


def test_versions_of_python_agree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, tools = settings["project"], settings["tool"]
    oldest = project["requires-python"].removeprefix(">=")
    named = [line.rpartition(" :: ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert tools["mypy"]["python_version"] == oldest
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert named[0] == oldest
    assert f"Python {oldest} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_dependency_has_an_oldest_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for part in project["optional-dependencies"].values() for each in part),
    ]
    assert [each for each in wanted if ">=" not in each and not each.startswith("uibe[")] == []
