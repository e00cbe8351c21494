"""Names of concepts come from data of others: they are shown as text, wherever they are shown."""

import csv
import io
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import uibe
from tests.data.builders import edit
from tests.running import Bench, Outcome, Run, finished, quick, run_evaluate, run_train
from uibe.data.index import BrodenIndex
from uibe.errors import ConfigError, DataError, one_line_errors, printable
from uibe.library.labels import Label
from uibe.report.explanation import ClassParts, Part, explanation_table
from uibe.report.figures import detector_figure
from uibe.report.markdown import cell, code, table
from uibe.report.tables import score_table

ESCAPE = "\x1b"
NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[bold red]loud[/]",
    "[link=file:///etc/passwd]click[/link]",
    f"{ESCAPE}[2J{ESCAPE}]0;owned\x07",
    "a|b|c",
    "line\nbreak",
    "---",
    "$\\frac{1}{$",
    "`tick`",
    "![pixel](https://evil.example/x.png)",
    "[text](javascript:alert(1))",
    "{{ 7 * 7 }}",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "../../../etc/passwd",
]
PLAIN = [name for name in NAMES if name == printable(name)]  # the others are refused, see below
QUICK = ["--replicates", "2"]


@pytest.fixture(scope="module")
def root(bench: Bench, trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered set with hostile names for all of its concepts."""
    del trained
    folder = Path(shutil.copytree(bench.root, tmp_path_factory.mktemp("names") / "set"))
    with (folder / "label.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["name"] = f"{PLAIN[number % len(PLAIN)]}{number}"
    with (folder / "label.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training with pictures, histograms and the projector."""
    folder = tmp_path_factory.mktemp("runs")
    data = ["--data", "datamodules.BrodenDataModule", "--data.root", root, "--data.cache_dir", root / "cache"]
    shown = ["--figures.detectors", "9", "--forming.detectors", "4", "--board.projector", "16"]
    return finished(run_train(*data, *quick(folder), *shown), folder)


def harmless(outcome: Outcome) -> None:
    """It worked, and printed nothing that steers a terminal."""
    assert outcome.code == 0, outcome.err
    assert ESCAPE not in outcome.out + outcome.err
    assert "\x07" not in outcome.out + outcome.err


def elements(markdown: str) -> Counter[str]:
    """How many of each kind a Markdown text holds, in lines too."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(markdown)
    return Counter(each.type for token in tokens for each in (token, *(token.children or [])))


def test_names_are_kept_as_they_are(root: Path) -> None:
    names = BrodenIndex.read(root).labels.names
    assert {name.rstrip("0123456789") for name in names} == {name.rstrip("0123456789") for name in PLAIN}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLAIN])
@pytest.mark.parametrize(("part", "old"), [("label", "car"), ("category", "object")])
def test_what_steers_is_refused(name: str, part: str, old: str, broden_root: Path) -> None:
    edit(broden_root / f"{part}.csv", old, f'"{name}"')
    with pytest.raises(DataError, match=rf"{part}\.csv, line \d+: name is .*with a control") as caught:
        BrodenIndex.read(broden_root)
    assert str(caught.value) == printable(str(caught.value))


def test_shared_names_that_steer_are_spelled_out(trained: Run, tmp_path: Path) -> None:
    detector = uibe.load(trained.path)
    name = f"red{ESCAPE}[2J"
    detector.labels = tuple(Label(name, name, 0.5, 0.4, 0.6) for _ in range(64))
    labels = uibe.load(detector.save(tmp_path)).labels
    assert labels is not None
    assert {(each.concept, each.category) for each in labels} == {(r"red\x1b[2J", r"red\x1b[2J")}


def test_training_shows_them_as_text(run: Run) -> None:
    harmless(run.outcome)
    board = EventAccumulator(str(run.folder)).Reload()
    (card,) = {
        event.tensor_proto.string_val[0].decode() for event in board.Tensors("run card/text_summary")[-1:]
    }
    assert not elements(card).keys() & {"html_inline", "html_block", "link_open", "image"}
    assert not [path for path in run.folder.rglob("*") if "passwd" in path.name]
    metadata = next(run.folder.rglob("metadata.tsv")).read_text(encoding="utf-8")
    assert {line.count("\t") for line in metadata.splitlines()} == {4}


def test_score_and_export_show_them_as_text(run: Run, tmp_path: Path) -> None:
    harmless(run_evaluate("score", "--ckpt_path", run.path, "--out", tmp_path / "score"))
    with (tmp_path / "score" / "detectors.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 64
    harmless(run_evaluate("export", "--ckpt_path", run.path, "--out", tmp_path / "out", *QUICK))
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert set(yaml.safe_load(front)) == {"library_name", "pipeline_tag", "tags", "backbone"}
    assert not elements(body).keys() & {"html_inline", "html_block", "image"}
    assert elements(body)["link_open"] == 1  # the paper's
    assert uibe.load(tmp_path / "out").labels is not None


def test_explanations_show_them_as_text(run: Run, root: Path, tmp_path: Path) -> None:
    image = sorted((root / "images").rglob("*.jpg"))[0]
    given = ["--ckpt_path", run.path, "--out", tmp_path, "--image", image, *QUICK]
    outcome = run_evaluate("explain", *given)
    harmless(outcome)
    assert list(tmp_path.glob("*.svg"))


def test_comparisons_show_them_as_text(run: Run, tmp_path: Path) -> None:
    uibe.load(run.path).save(tmp_path)
    other = tmp_path / "<b>x|y$[z](u).safetensors"
    (tmp_path / "basis.safetensors").rename(other)
    given = ["--ckpt_path", run.path, "--out", tmp_path / "out", "--bases", "natural", other, *QUICK]
    harmless(run_evaluate("compare", *given, "--threshold_steps", "2", "--shares", "0.05"))
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert not elements(text).keys() & {"html_inline", "html_block", "link_open", "image"}
    rows = [line for line in text.splitlines() if line.startswith("| &lt;b>x")]
    assert rows
    assert all("x\\|y" in row for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_one_cell_of_text(name: str) -> None:
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(
        table(["a", "b"], [[cell(name), code(name)], ["1", "2"]])
    )
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 4
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner <= {"text", "text_special", "code_inline"}


@pytest.mark.parametrize("name", NAMES)
def test_terminals_get_text(name: str) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=400, color_system=None)
    name = printable(name)
    values = {"S1": 1.0, "S2": 0.5, "interpretable": 3, "unique": 2}
    console.print(score_table({"learned": {**values, "categories": {name: values}}}))
    strong = Part([0], name, name, 1.0, torch.zeros(1, 1), 1.0, 0.0)
    parts = ClassParts(0, name, 1.0, 0.0, [strong], [], (0.0, 0), (0.0, 0), (0.0, 0), 0.0, 0.0)
    console.print(explanation_table(name, parts))
    assert shown.getvalue().count(name) >= 3
    assert "]8;" not in shown.getvalue()  # a link


@pytest.mark.parametrize("name", NAMES)
def test_figures_get_text(name: str) -> None:
    figure = detector_figure([Image.new("RGB", (8, 8))], torch.zeros(1, 2, 2), 0.5, printable(name))
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")  # its TeX is read only now
    assert drawn.getvalue()


def test_errors_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_errors():
        raise ConfigError(f"a{ESCAPE}[2J.png\x07: no such file")
    assert capsys.readouterr().err == "error: a\\x1b[2J.png\\x07: no such file\n"
