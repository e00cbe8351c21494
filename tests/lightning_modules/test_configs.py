"""Configs that would take for ever, of the command line and of earlier runs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.configs import check_configs
from lightning_modules.resume import run_to_resume
from tests.running import Run, run_train
from uibe.errors import ConfigError

BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(10))}}}\n" for n in range(1, 10)
)
ENDLESS = {
    "aliases of aliases": (f"{BOMB}model: *a9\n", "make more than 100000 values"),
    "within itself": ("model: &m {init_args: *m}\n", "nested too deep, or a value within itself"),
    "no day": ("model: 2001-99-99\n", "month must be in 1..12"),
    "deep": (f"model: {'[' * 5000}{']' * 5000}\n", "nested too deep"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_endless_config_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, mention = ENDLESS[case]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    outcome = run_train("fit", "--config", path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: --config {path}: ")
    assert mention in outcome.err
    with pytest.raises(ConfigError, match=mention):
        check_configs([f"--config={path}"])


def test_config_of_another_encoding_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("model: größe\n".encode("latin-1"))
    outcome = run_train("fit", "--config", path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: --config {path}: ")
    assert "save it as UTF-8" in outcome.err


def test_other_configs_are_left_to_the_parser(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("common: &c [1, 2]\nother: *c\n")
    (tmp_path / "b.yaml").write_text("'")
    check_configs([f"--config={tmp_path / 'a.yaml'}", "--config", f"{tmp_path / 'b.yaml'}", "--config"])


ODD = [
    *(text for text, _ in ENDLESS.values()),
    "trainer: 7\ndata: [a]\n",
    "day: 2001-99-99\n",
    "\x00",
    "- a\n",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_config_of_a_run_is_not_the_one_to_resume(trained: Run, tmp_path: Path, text: str) -> None:
    options: dict[str, Any] = {
        "model": {"class_path": "lightning_modules.BasisModule"},
        "trainer": {"logger": {"init_args": {"save_dir": str(tmp_path)}}},
    }
    for version, config in (("odd", text), ("sound", "model: {class_path: lightning_modules.BasisModule}")):
        (tmp_path / version / "checkpoints").mkdir(parents=True)
        (tmp_path / version / "config.yaml").write_text(config)
        torch.save(trained.checkpoint, tmp_path / version / "checkpoints" / "last.ckpt")
    (tmp_path / "odd" / "checkpoints" / "lost.ckpt").symlink_to("nowhere")
    found = run_to_resume(options)
    assert found is not None
    assert found.version == "sound"
