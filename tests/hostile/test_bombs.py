"""YAML that is small and stands for a memory full of values: one line, in bounded memory and time."""

import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import evaluate
import experiments
import train
from lightning_modules.resume import run_to_resume
from tests.data.groups import FORK
from tests.running import Outcome, run

SECONDS, MEMORY = 20, 300 * 2**20  # for reading a file of a kilobyte


def levels(first: str, entry: str, brackets: str) -> str:
    """Nine anchors, each of which names the one before ten times."""
    lines = [f"a0: &a0 {first}"]
    for number in range(1, 10):
        parts = ", ".join(entry.format(key=key, name=f"*a{number - 1}") for key in range(10))
        lines.append(f"a{number}: &a{number} {brackets.format(parts)}")
    return "\n".join(lines) + "\n"


CHAIN = "".join(f"b{number}: &b{number} {{<<: *b{number - 1}}}\n" for number in range(1, 3000))
BOMBS = {
    "lists": levels("[x]", "{name}", "[{}]"),
    "mappings": levels("{x: 1}", "k{key}: {name}", "{{{}}}"),
    "merges": levels("{x: 1}", "{name}", "{{<<: [{}]}}"),
    "a chain of merges": f"b0: &b0 {{x: 1}}\n{CHAIN}a9: &a9 {{<<: *b2999}}\n",
    "in itself": "a9: &a9 {x: *a9}\n",
}
COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], list[str], str]] = {
    "train": (train.main, ["fit"], "model"),
    "score": (evaluate.main, ["score"], "data"),
    "compare": (evaluate.main, ["compare"], "bases"),
    "experiments": (experiments.main, [], "data"),
}


def bounded(main: Callable[[Sequence[str]], None], args: Sequence[str | Path]) -> Outcome:
    """Run a command in a child that has little memory and time to spare."""
    receive, send = FORK.Pipe(duplex=False)

    def work() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        send.send(run(main, args))

    child = FORK.Process(target=work)
    began = time.monotonic()
    child.start()
    arrived = receive.poll(SECONDS)
    child.kill()
    child.join()
    assert arrived, f"nothing after {time.monotonic() - began:.0f} s"
    outcome: Outcome = receive.recv()
    return outcome


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("command", COMMANDS)
def test_bombs_in_configs_are_one_line(command: str, bomb: str, tmp_path: Path) -> None:
    main, subcommand, option = COMMANDS[command]
    path = tmp_path / "bomb.yaml"
    path.write_text(f"{BOMBS[bomb]}{option}: *a9\n")
    outcome = bounded(main, [*subcommand, "--config", path])
    assert outcome.code == 1, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: --config {path}: ")
    assert "its aliases make more than 100000 values" in line or "nested too deep" in line


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("option", ["-c", "--model", "--data", "--trainer.callbacks", "--trainer.logger"])
def test_bombs_in_files_that_options_name_are_refused(option: str, bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(f"{BOMBS[bomb]}class_path: *a9\n")
    outcome = bounded(train.main, ["fit", option, path])
    assert outcome.code in (1, 2), outcome.err
    assert "Traceback" not in outcome.err
    assert "its aliases make more than 100000 values" in outcome.err or "nested too deep" in outcome.err


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_in_the_config_of_a_run_make_it_none_to_resume(bomb: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"")
    (folder / "config.yaml").write_text(f"{BOMBS[bomb]}model: *a9\n")
    options: dict[str, Any] = {"model": {}, "trainer": {"logger": {"init_args": {"save_dir": str(tmp_path)}}}}

    def look(args: Sequence[str]) -> None:
        raise SystemExit(7 if run_to_resume(options) is None else 0)

    options["trainer"]["logger"]["init_args"]["name"] = "runs"
    assert bounded(look, []).code == 7


def test_merges_and_aliases_that_are_few_mean_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("trainer: &t {max_epochs: 3, max_steps: 7}\ntrainer: {<<: *t, max_epochs: 4}\n")
    outcome = bounded(train.main, ["fit", "--config", path, "--print_config"])
    assert outcome.code == 0, outcome.err
    printed = yaml.safe_load(outcome.out)
    assert printed["trainer"]["max_epochs"] == 4
    assert printed["trainer"]["max_steps"] == 7
