"""A pickle can run any program when it is read: nothing that is read here may be one."""

import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uibe
from lightning_modules import BasisModule, SupervisedModule
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from tests.hostile.traps import Bomb, arm, went_off
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
from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.errors import MismatchError


def refused(outcome: Outcome, path: Path) -> None:
    """One line that names the file, and nothing was run."""
    assert not went_off()
    assert outcome.code == 1, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert str(path) in line


@pytest.fixture
def bomb(trained: Run, tmp_path: Path) -> Path:
    """A sound checkpoint but for one entry."""
    return arm(tmp_path / "bomb.ckpt", trained.checkpoint)


@pytest.mark.parametrize("command", ["score", "export", "report", "compare", "explain"])
def test_no_command_runs_a_checkpoint(command: str, bomb: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "any.png")
    image = ["--image", tmp_path / "any.png"] if command == "explain" else []
    refused(run_evaluate(command, "--ckpt_path", bomb, "--out", tmp_path / "out", *image), bomb)


def test_training_does_not_run_a_checkpoint(bomb: Path, bench: Bench, tmp_path: Path) -> None:
    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs"), "--ckpt_path", bomb]
    refused(run_train(*given), bomb)
    refused(run_train("fit", *given, "--weights_only", "false"), bomb)


def test_resuming_does_not_run_what_it_finds(trained: Run, bench: Bench, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(trained.folder, runs / "uibe" / "version_0")
    for name in ("last.ckpt", "previous.ckpt"):
        arm(runs / "uibe" / "version_0" / "checkpoints" / name, trained.checkpoint)
    pictures = ["--figures.detectors", "2", "--figures.images", "2"]
    given = [*synthetic(bench.root, bench.cache), *quick(runs), *pictures, "--resume", "auto"]
    again = finished(run_train(*given), runs)
    assert not went_off()
    assert again.folder.name == "version_1"


@pytest.mark.filterwarnings("ignore")  # torch warns of the variable, which is no refusal
@pytest.mark.parametrize("asked", [None, False, True])
@pytest.mark.parametrize("environment", ["0", "1"])
def test_lightning_s_own_reading_is_restricted_too(
    asked: bool | None, environment: str, bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", environment)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        AtomicCheckpointIO().load_checkpoint(bomb, weights_only=asked)
    assert not went_off()


@pytest.mark.filterwarnings("ignore")
def test_the_library_does_not_run_a_checkpoint(bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(MismatchError, match=r"bomb\.ckpt: damaged or no checkpoint"):
        uibe.load(bomb)
    assert not went_off()


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.pth.tar"])
def test_weights_are_not_run(name: str, trained: Run, bench: Bench, tmp_path: Path) -> None:
    weights = arm(tmp_path / name, {"features.0.weight": torch.zeros(1)})
    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs"), "--model.weights", weights]
    refused(run_train(*given), weights)
    score = ["score", "--ckpt_path", trained.path, "--out", tmp_path / "out", "--weights", weights]
    refused(run_evaluate(*score), weights)


def test_a_bare_pickle_under_any_name_is_not_run(trained: Run, tmp_path: Path) -> None:
    for name in ("a.ckpt", "a.pth", "a.safetensors"):
        arm(tmp_path / name, {})
    refused(run_evaluate("export", "--ckpt_path", tmp_path / "a.ckpt", "--out", tmp_path / "o"), tmp_path)
    given = ["--ckpt_path", trained.path, "--out", tmp_path / "o", "--bases", tmp_path / "a.safetensors"]
    refused(run_evaluate("compare", *given), tmp_path / "a.safetensors")


def test_a_folder_of_pickles_is_not_run(trained: Run, tmp_path: Path) -> None:
    uibe.load(trained.path).save(tmp_path / "shared")
    for name in ("basis.safetensors", "config.json"):
        folder = Path(shutil.copytree(tmp_path / "shared", tmp_path / name))
        arm(folder / name, {})
        with pytest.raises(MismatchError, match=name):
            uibe.load(folder)
        assert not went_off()


def test_a_cache_is_numbers_whatever_its_header_says(tmp_path: Path) -> None:
    key = CacheKey(dtype="float32")
    path = fill(tmp_path, key, 8, [torch.zeros(8, 64, 4, 4)]).path / "features-00000.npy"
    size = path.stat().st_size
    with path.open("wb") as file:
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
        file.write(bytes(size - file.tell()))
    np.load(path, allow_pickle=True)
    assert went_off()
    with pytest.raises(MismatchError, match=r"features-00000\.npy: not of the shape and type"):
        FeatureCache.open(tmp_path, key)
    assert not went_off()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("asked", [{}, {"weights_only": None}, {"weights_only": False}])
@pytest.mark.parametrize("module", [BasisModule, SupervisedModule])
def test_lightning_s_loading_of_a_module_is_restricted(
    module: type[BasisModule] | type[SupervisedModule],
    asked: dict[str, Any],
    bomb: Path,
    trained: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(UnpicklingError, match=r"[Ww]eights"):
        module.load_from_checkpoint(bomb, **asked)
    assert not went_off()
    if module is BasisModule:  # what is sound is loaded
        assert same_tensors(module.load_from_checkpoint(trained.path, **asked).state_dict(), trained.state)


@pytest.mark.parametrize("key", ["_instantiator", "_class_path"])
def test_lightning_s_loading_calls_nothing_that_a_checkpoint_names(
    key: str, trained: Run, tmp_path: Path
) -> None:
    content = trained.checkpoint
    content["hyper_parameters"]["_instantiator"] = "pytorch_lightning.cli.instantiate_module"
    content["hyper_parameters"][key] = "tests.hostile.traps.NoNetwork"
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="blocked"):
        BasisModule.load_from_checkpoint(tmp_path / "a.ckpt")
    assert not went_off()
