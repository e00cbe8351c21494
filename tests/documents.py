"""The commands and snippets of documents, found and made small."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from docs import pictures
from tests.data.builders import write_broden
from tests.running import Outcome, Run, quick, run, run_evaluate, run_train

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)[^\n`]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RENDER = ["--data.num_train=24", "--data.num_val=12", "--data.render_size=48", "--data.mask_size=24"]
# by the longest prefix of the command: how it is made small; LOGS and WEIGHTS are places of the test
SHRINK: dict[str, list[str]] = {
    "python train.py": [*RENDER, *quick(Path("LOGS"))],
    "python train.py fit --help": [],
    "python train.py --help": [],
    "python train.py fit --model.help": [],
    "python train.py fit --data.help": [],
    "python train.py fit --ckpt_path": [*RENDER, *quick(Path("LOGS")), "--trainer.max_epochs=3"],
    "python train.py fit --data datamodules.BrodenDataModule": quick(Path("LOGS"), "64"),
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
    "python docs/pictures.py": [],
    "python evaluate.py": [],
    "python evaluate.py report": ["--replicates=5", "--images=2", "--class_images=1"],
    "python evaluate.py explain": ["--replicates=5"],
    "python evaluate.py export": ["--replicates=5"],
    "python evaluate.py compare": ["--replicates=5", "--random_seeds=1", "--threshold_steps=2"],
}
# not run here: an installation needs a network, and this is the test run already
KNOWN = ("python -m pip install", "python -m pytest", "mkdocs")


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
    assert unknown == [], "commands that no test knows how to run"
    return found


def shrink(command: str) -> list[str]:
    """Extra arguments of a command."""
    return SHRINK[max((prefix for prefix in SHRINK if command.startswith(prefix)), key=len)]


def small_places(trained: Run, folder: Path) -> dict[str, str]:
    """Small things in place of those that documents name, in a folder that has the configs."""
    (folder / "configs").symlink_to(ROOT / "configs")
    root = str(write_broden(folder / "broden"))
    return {
        "CKPT": str(trained.path),
        "DIR": str(folder / "out"),
        "BRODEN": root,
        "../shared/broden-mini": root,
        "FOLDER": f"{root}/images/b",
        "PHOTO": f"{root}/images/b/2.jpg",
        "LOGS": str(folder / "logs"),
        "WEIGHTS": str(folder / "resnet18_places365.pth.tar"),
    }


def run_command(command: str, places: dict[str, str]) -> Outcome:
    """Run a command of a document, small."""
    arguments = [places.get(word, word) for word in [*shlex.split(command)[2:], *shrink(command)]]
    mains = {
        "python train.py": run_train,
        "python evaluate.py": run_evaluate,
        "python docs/pictures.py": lambda *args: run(pictures.main, args),
    }
    (own,) = [main for name, main in mains.items() if command.startswith(name)]
    return own(*arguments)
