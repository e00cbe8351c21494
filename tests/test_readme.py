"""Every command and every snippet of README.md runs; commands on small data."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import datamodules
from tests.data.builders import write_broden
from tests.running import Run, quick, run_evaluate, run_train
from tests.test_configs import places365

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RENDER = ["--data.num_train=24", "--data.num_val=12", "--data.render_size=48", "--data.mask_size=24"]
# by the longest prefix of the command: how it is made small; LOGS and WEIGHTS are places of the test
SHRINK: dict[str, list[str]] = {
    "python train.py": [*RENDER, *quick(Path("LOGS"))],
    "python train.py fit --help": [],
    "python train.py --help": [],
    "python train.py fit --model.help": [],
    "python train.py fit --data.help": [],
    "python train.py fit --ckpt_path": [*RENDER, *quick(Path("LOGS")), "--trainer.max_epochs=3"],
    "python train.py fit --config": quick(Path("LOGS"), "64"),
    "python train.py fit --config configs/efficientnet_lite0_supervised": [
        *quick(Path("LOGS"), "64"),
        "--model.min_frequency=1",
    ],
    "python train.py fit --config configs/resnet18_places365": [
        *quick(Path("LOGS"), "64"),
        *("--model.weights", "WEIGHTS"),
    ],
    "python train.py fit --config configs/synthetic": [*RENDER, *quick(Path("LOGS"))],
    "python evaluate.py": [],
    "python evaluate.py report": ["--replicates=5", "--images=2", "--class_images=1"],
    "python evaluate.py explain": ["--replicates=5"],
    "python evaluate.py export": ["--replicates=5"],
    "python evaluate.py compare": ["--replicates=5", "--random_seeds=1", "--threshold_steps=2"],
}
# not run here: an installation needs a network, and this is the test run already
KNOWN = ("python -m pip install", "python -m pytest")


def fenced(text: str, language: str) -> list[str]:
    """Contents of the fences of a language."""
    return [body for found, body in FENCE.findall(text) if found == language]


def commands(text: str) -> Iterator[str]:
    """Single commands of the bash fences, without comments and continuations."""
    for block in fenced(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield from (part.strip() for part in shlex.join(words).replace("'&&'", "&&").split("&&"))


def runnable(text: str) -> list[str]:
    """The commands to run; anything that is not known fails."""
    found = [command for command in commands(text) if not command.startswith(KNOWN)]
    unknown = [command for command in found if not command.startswith(tuple(SHRINK))]
    assert unknown == [], "README.md has commands that no test knows how to run"
    return found


def shrink(command: str) -> list[str]:
    """Extra arguments of a command."""
    return SHRINK[max((prefix for prefix in SHRINK if command.startswith(prefix)), key=len)]


@pytest.fixture
def places(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Small things in place of those that README.md names, in a working directory with the configs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    root = str(write_broden(tmp_path / "broden"))
    return {
        "CKPT": str(trained.path),
        "DIR": str(tmp_path / "out"),
        "BRODEN": root,
        "../shared/broden-mini": root,
        "FOLDER": f"{root}/images/b",
        "PHOTO": f"{root}/images/b/2.jpg",
        "LOGS": str(tmp_path / "logs"),
        "WEIGHTS": str(tmp_path / "resnet18_places365.pth.tar"),
    }


@pytest.mark.parametrize("command", runnable(README))
@pytest.mark.filterwarnings("ignore:the data has no labels")  # said of FOLDER, tested elsewhere
def test_command_runs(command: str, places: dict[str, str], tmp_path: Path) -> None:
    arguments = [places.get(word, word) for word in [*shlex.split(command)[2:], *shrink(command)]]
    if places["WEIGHTS"] in arguments:
        places365(Path(places["WEIGHTS"]))
    run = run_train if command.startswith("python train.py") else run_evaluate
    outcome = run(*arguments)
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
