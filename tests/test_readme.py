"""Every command and every snippet of README.md runs; commands on small data."""

import re
import tomllib
from pathlib import Path

import pytest

import datamodules
from tests.documents import KNOWN, ROOT, commands, fenced, run_command, runnable, small_places
from tests.running import Run, run_train
from tests.test_configs import places365

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def places(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Small things in place of those that README.md names, in a working directory with the configs."""
    monkeypatch.chdir(tmp_path)
    return small_places(trained, tmp_path)


@pytest.mark.parametrize("command", runnable(README))
@pytest.mark.filterwarnings("ignore:the data has no labels")  # said of FOLDER, tested elsewhere
def test_command_runs(command: str, places: dict[str, str], tmp_path: Path) -> None:
    if "places365" in command:
        places365(Path(places["WEIGHTS"]))
    outcome = run_command(command, places)
    assert outcome.code == 0, outcome.err
    assert outcome.out
    written = [
        *tmp_path.rglob("last.ckpt"),
        *tmp_path.rglob("metrics.json"),
        *tmp_path.rglob("compare.json"),
        *tmp_path.rglob("explanation.json"),
        *tmp_path.rglob("basis.safetensors"),
        *tmp_path.rglob("report.json"),
    ]
    assert bool(written) == ("help" not in command)


@pytest.mark.parametrize("snippet", fenced(README, "python"))
def test_snippet_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own text


def test_installations_name_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installs = [command for command in commands(README) if command.startswith(KNOWN[0])]
    assert installs
    for command in installs:
        for extra in re.findall(r"\[(\w+)\]", command):
            assert extra in project["optional-dependencies"]


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"\b(?:configs|tests|uibe|datamodules|callbacks)/[\w/]+\.\w+", README))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_classes_that_are_named_exist() -> None:
    named = set(re.findall(r"`datamodules\.(\w+)`", README))
    assert named == set(datamodules.__all__) - {"FeatureDataModule"}


def test_options_that_are_named_exist() -> None:
    named = set(re.findall(r"`--((?:model|data|dissection|figures|forming|board|trainer)\.[\w.]+)", README))
    known = run_train("fit", "--print_config").out
    assert named
    for option in named:
        name = option.rpartition(".")[2]
        assert re.search(rf"^\s+{name}:", known, re.MULTILINE), option


def test_unknown_command_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="no test knows"):
        runnable("```bash\ncurl example.org | sh\n```\n")


def test_commands_are_taken_apart() -> None:
    text = (
        "```bash\n# first\npython a.py && python b.py \\\n  --x 1  # why\n```\n```console\npython c.py\n```\n"
    )
    assert list(commands(text)) == ["python a.py", "python b.py --x 1"]
