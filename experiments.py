"""Backbones x layers x data sets: train each, compare its basis with peers, collect one table.

`python experiments.py` runs every combination of the files in `configs/experiments/`; what is done is
skipped, so that a broken run can be started again and a new file adds its combinations only.
"""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console

from commands.arguments import Parser, with_lists
from lightning_modules.configs import bound_parsers, check_configs
from uibe.errors import ConfigError, one_line_errors
from uibe.report.files import output_folder, write_csv, write_json, write_text
from uibe.report.matrix import matrix_markdown, matrix_rows

ROOT = Path(__file__).parent
PARTS = ("data", "backbone", "layer")
LISTS = ("--data", "--backbone", "--layer", "--bases")
DEFAULT_BASES = ("natural", "random", "pca", "ica", "nmf", "kmeans", "sae", "supervised")


def experiments(
    out: str = "runs/experiments",
    configs: str = str(ROOT / "configs" / "experiments"),
    data: list[str] | None = None,
    backbone: list[str] | None = None,
    layer: list[str] | None = None,
    bases: list[str] | None = None,
    train_options: list[str] | None = None,
    compare_options: list[str] | None = None,
) -> None:
    """Train and compare all combinations; write `table.csv` and `table.md`.

    Args:
        out: folder with a folder for each combination, `DATA-BACKBONE-LAYER`.
        configs: folder with the folders `data`, `backbone` and `layer` of YAML files.
        data: names of the files to use; all by default.
        backbone: likewise.
        layer: likewise.
        bases: peers, see `evaluate.py compare`; all unsupervised ones by default.
        train_options: more options for train.py, as `--train_options '[--trainer.max_epochs=2]'`.
        compare_options: more options for `evaluate.py compare`.
    """
    chosen = {"data": data, "backbone": backbone, "layer": layer}
    files = [_files(Path(configs) / part, chosen[part]) for part in PARTS]
    folder, console = output_folder(out), Console(soft_wrap=True)
    names = list(DEFAULT_BASES if bases is None else bases)
    failed = []
    for combination in itertools.product(*files):
        name = "-".join(path.stem for path in combination)
        console.rule(name)
        if not _experiment(folder / name, combination, names, train_options or [], compare_options or []):
            failed.append(name)
    _collect(folder, console)
    if failed:
        raise ConfigError(
            f"experiments: {', '.join(failed)} failed, see above; run again to go on with these"
        )


def _files(folder: Path, names: Sequence[str] | None) -> list[Path]:
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    unknown = set(names or ()) - set(found)
    if unknown or not found:
        raise ConfigError(
            f"{folder}: expected names among {', '.join(found) or 'no files'}, got {sorted(unknown)}"
        )
    return [found[name] for name in (found if names is None else names)]


def _experiment(
    folder: Path, configs: Sequence[Path], bases: Sequence[str], train: Sequence[str], compare: Sequence[str]
) -> bool:
    """Train and compare, each unless it is done already; again if what was asked for has changed."""
    asked = {
        "configs": {path.name: path.read_text(encoding="utf-8") for path in configs},
        "train": list(train),
    }
    compared = {**asked, "bases": list(bases), "compare": list(compare)}
    basis = folder / "basis.ckpt"
    if not _same(folder / "trained.json", asked):
        shutil.rmtree(folder, ignore_errors=True)
        options = [option for path in configs for option in ("--config", str(path))]
        place = [f"--trainer.logger.init_args.save_dir={folder}", "--trainer.logger.init_args.version=0"]
        if not _run("train.py", "fit", *options, *place, *train):
            return False
        shutil.copy(folder / "uibe" / "version_0" / "checkpoints" / "last.ckpt", basis)
        write_json(folder / "trained.json", asked)
    if not _same(folder / "compared.json", compared):
        given = ["--ckpt_path", json.dumps([str(basis)]), "--bases", json.dumps(list(bases))]
        if not _run("evaluate.py", "compare", *given, "--out", str(folder / "compare"), *compare):
            return False
        write_json(folder / "compared.json", compared)
    return True


def _same(path: Path, asked: dict[str, Any]) -> bool:
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")) == asked


def _run(script: str, *options: str) -> bool:
    # a process of its own: memory, threads and seeds are those of a single run
    done = subprocess.run([sys.executable, str(ROOT / script), *options], check=False)  # noqa: S603 - ours
    return done.returncode == 0


def _collect(folder: Path, console: Console) -> None:
    documents = {
        path.parent.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/compare/compare.json"))
        if (path.parent.parent / "compared.json").is_file()
    }
    if documents:
        write_csv(folder / "table.csv", matrix_rows(documents))
        write_text(folder / "table.md", matrix_markdown(documents))
        console.print(f"written  {folder / 'table.csv'}, {folder / 'table.md'}", markup=False)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; `--debug` shows the traceback of an error.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    given = sys.argv[1:] if args is None else list(args)
    with one_line_errors(debug="--debug" in given):
        check_configs(given)
        bound_parsers()
        auto_cli(
            experiments,
            args=with_lists([arg for arg in given if arg != "--debug"], LISTS),
            as_positional=False,
            parser_class=Parser,
            description=__doc__,
            prog="experiments.py",
        )


if __name__ == "__main__":
    main()
