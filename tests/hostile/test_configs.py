"""What a config, a checkpoint or a shared folder names is a part of a training, or is not touched."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import uibe
from lightning_modules.resume import run_to_resume
from tests.hostile.traps import MARK, went_off
from tests.running import Bench, Run, quick, run_evaluate, run_train, synthetic
from uibe.errors import ConfigError

PLACES = ["model", "data", "logger", "callbacks", "strategy", "plugins", "profiler", "accelerator"]
LAMBDA = "pytorch_lightning.callbacks.LambdaCallback"


def named(place: str, class_path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A config that names a class at a place."""
    spec: Any = {"class_path": class_path, "init_args": arguments}
    if place in ("model", "data"):
        return {place: spec}
    return {"trainer": {place: [spec] if place in ("callbacks", "plugins") else spec}}


def refused_config(content: object, tmp_path: Path) -> str:
    """The message of a refused config; nothing was run."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content) if isinstance(content, dict) else str(content))
    outcome = run_train("fit", "--config", tmp_path / "c.yaml")
    assert outcome.code in (1, 2), outcome.err
    assert "Traceback" not in outcome.err
    assert not went_off()
    return outcome.err


@pytest.mark.parametrize("place", PLACES)
def test_programs_are_neither_started_nor_imported(place: str, tmp_path: Path) -> None:
    refused_config(named(place, "subprocess.Popen", {"args": ["mkdir", str(MARK)]}), tmp_path)
    refused_config(named(place, "antigravity.Anything", {}), tmp_path)  # its import opens a browser
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("place", PLACES)
def test_classes_of_other_kinds_are_not_instantiated(place: str, tmp_path: Path) -> None:
    refused_config(named(place, "tests.hostile.traps.NoNetwork", {}), tmp_path)


@pytest.mark.parametrize("function", ["os.system", "posix.system", "builtins.exec", "runpy.run_path"])
def test_callbacks_cannot_be_given_programs(function: str, tmp_path: Path) -> None:
    said = refused_config(named("callbacks", LAMBDA, {"on_fit_start": function}), tmp_path)
    assert "not allowed" in said


def test_nested_specifications_stay_what_they_are(tmp_path: Path) -> None:
    popen = {"class_path": "subprocess.Popen", "init_args": {"args": ["mkdir", str(MARK)]}}
    refused_config(named("logger", "pytorch_lightning.loggers.CSVLogger", {"save_dir": popen}), tmp_path)
    refused_config({"model": {"class_path": "lightning_modules.BasisModule", "init_args": popen}}, tmp_path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.mkdir"])
def test_yaml_makes_no_objects(tag: str, bench: Bench, tmp_path: Path) -> None:
    text = f"model: {tag} ['{MARK}']\n"
    refused_config(text, tmp_path)
    folder = tmp_path / "runs" / "uibe" / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    (folder / "config.yaml").write_text(text)
    assert run_to_resume({"trainer": {"logger": logger(tmp_path)}}) is None
    assert not went_off()


def logger(tmp_path: Path) -> dict[str, Any]:
    """As `config.yaml` names the board."""
    return {"init_args": {"save_dir": str(tmp_path / "runs"), "name": "uibe"}}


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, 60)),
        "model: &a {again: *a}\n",
        "model: " + "{a: " * 3000 + "1" + "}" * 3000 + "\n",
        "data: text\ntrainer: [1]\n",
        "[1, 2]\n",
    ],
    ids=["doubling", "in itself", "deep", "other types", "list"],
)
def test_config_of_a_run_cannot_fill_the_memory(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "uibe" / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    text = text.replace("a59:", "model:")
    (folder / "config.yaml").write_text(text)
    options = {"model": {}, "trainer": {"logger": logger(tmp_path)}}
    assert run_to_resume(options) is None


# what an attacker may write into a file that he gives away
BACKBONES = {
    "os:abort": "holds no networks",
    "os.path:os.abort": "holds no networks",
    "builtins:breakpoint": "holds no networks",
    "antigravity:anything": "holds no networks",
    "tests.hostile.traps:no_network": "returns a int",
    "tests.hostile.traps:NoNetwork": "returns a NoNetwork",
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_checkpoint_cannot_call_what_is_no_network(backbone: str, trained: Run, tmp_path: Path) -> None:
    content = trained.checkpoint
    content["hyper_parameters"]["backbone"] = backbone
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(ConfigError, match=BACKBONES[backbone]):
        uibe.load(path)
    for command in ("score", "export"):  # which writes the basis alone, without its backbone
        outcome = run_evaluate(command, "--ckpt_path", path, "--out", tmp_path / "out")
        assert outcome.code == int(command == "score")
        assert BACKBONES[backbone] in outcome.err + outcome.out
    assert not went_off()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("backbone", BACKBONES)
def test_shared_folder_cannot_call_what_is_no_network(backbone: str, trained: Run, tmp_path: Path) -> None:
    uibe.load(trained.path).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "backbone": backbone}))
    with pytest.raises(ConfigError, match=BACKBONES[backbone]):
        uibe.load(tmp_path)
    assert not went_off()


@pytest.mark.parametrize("class_path", ["subprocess.Popen", "tests.hostile.traps.NoNetwork"])
def test_resumed_checkpoint_cannot_name_a_module(
    class_path: str, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    content = trained.checkpoint
    content["hyper_parameters"]["_class_path"] = class_path
    content["hyper_parameters"]["_instantiator"] = "tests.hostile.traps.no_network"
    torch.save(content, tmp_path / "a.ckpt")
    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path / "runs")]
    outcome = run_train(*given, "--ckpt_path", tmp_path / "a.ckpt")
    assert outcome.code != 0
    assert not went_off()
