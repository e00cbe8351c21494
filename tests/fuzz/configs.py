"""Configs of the command lines: what is fuzzed of them and how it is judged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml

import evaluate
import train
from tests.fuzz.harness import Kind, Wrong
from tests.fuzz.yaml_mutations import yaml_mutations
from tests.running import run
from uibe.errors import ConfigError

__all__ = ["OPTIONS", "arguments", "configs"]

OPTIONS: dict[str, Any] = {
    "seed_everything": 0,
    "model": {
        "class_path": "lightning_modules.BasisModule",
        "init_args": {"layer": "features.0", "lr": 0.003},
    },
    "data": {"class_path": "datamodules.BrodenDataModule", "init_args": {"root": "set", "cache_dir": "c"}},
    "trainer": {
        "max_epochs": 2,
        "logger": {
            "class_path": "pytorch_lightning.loggers.TensorBoardLogger",
            "init_args": {"save_dir": "runs", "name": "uibe"},
        },
    },
    "dissection": {"quantile": 0.005, "thresholds": ["learned"]},
}
"""Of a command line, as a run's config.yaml holds them."""


def configs(scratch: Path) -> Kind:
    """A config of the command line, parsed and printed."""
    pristine = scratch / "pristine"
    pristine.mkdir(parents=True)
    (pristine / "config.yaml").write_text(yaml.safe_dump(OPTIONS), encoding="utf-8")

    judge = _printed(train.main, "fit")
    return Kind("configs", pristine, yaml_mutations("config.yaml", "either"), judge)


def arguments(scratch: Path) -> Kind:
    """A config of an evaluation, parsed and printed."""
    pristine = scratch / "pristine"
    pristine.mkdir(parents=True)
    options = {"ckpt_path": ["a.ckpt"], "out": "o", "shares": [0.5], "data": {"root": "set"}, "seed": 0}
    (pristine / "config.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    judge = _printed(evaluate.main, "compare")
    return Kind("arguments", pristine, yaml_mutations("config.yaml", "either"), judge)


def _printed(main: Callable[[Sequence[str]], None], command: str) -> Callable[[Path, Random], None]:
    """Whether a command line takes a config, or says why not."""

    def judge(folder: Path, draw: Random) -> None:
        path = folder / "config.yaml"
        outcome = run(main, [command, "--config", path, "--print_config"])
        if outcome.code == 0:
            return
        last = outcome.err.strip().splitlines()[-1] if outcome.err.strip() else "nothing"
        if outcome.code not in (1, 2) or "rror" not in outcome.err or "Traceback" in outcome.err:
            raise Wrong(f"exit code {outcome.code}: {outcome.err[-500:]}")
        raise ConfigError(f"{path}: {last}")

    return judge
