"""`data.group_by`: kept with the checkpoint, changed when evaluating, told beside all intervals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import uibe
from lightning_modules.checkpoint import hyper_parameters
from lightning_modules.resume import run_to_resume
from tests.running import Bench, Outcome, Run, fit, run_evaluate, same_tensors
from uibe.errors import MismatchError
from uibe.functional.groups import Grouping

NOTE = "Intervals take images as independent."
QUICK = {
    "score": [],
    "export": ["--replicates", "10"],
    "explain": ["--replicates", "10", "--image", "IMAGE", "--top", "1"],
    "report": ["--replicates", "10", "--images", "1", "--class_images", "0"],
    "compare": ["--replicates", "10", "--bases", "natural", "--shares", "0.05", "--threshold_steps", "2"],
}
FILES = {
    "score": "metrics.json",
    "export": "detectors.json",
    "explain": "explanation.json",
    "report": "report.json",
    "compare": "compare.json",
}


def run(command: str, run: Run, bench: Bench, out: Path, *extra: str | Path) -> Outcome:
    image = next((bench.root / "images").rglob("*.jpg"))
    options = [str(image) if word == "IMAGE" else word for word in QUICK[command]]
    return run_evaluate(command, "--ckpt_path", run.path, "--out", out, *options, *extra)


def groups_of(command: str, out: Path) -> dict[str, Any] | None:
    content = json.loads((out / FILES[command]).read_text(encoding="utf-8"))
    if command == "compare":
        content = content["options"]
    found: dict[str, Any] | None = (content["about"] if command == "report" else content).get("groups")
    return found


@pytest.fixture(scope="module")
def grouped(trained: Run, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As `trained`, with groups."""
    before = {path.name for path in bench.cache.iterdir()}
    run = fit(bench, tmp_path_factory.mktemp("runs"), "--data.group_by", "(.)\\.jpg$")
    assert {path.name for path in bench.cache.iterdir()} == before, "a cache was filled again"
    return run


def test_training_is_the_same(trained: Run, grouped: Run) -> None:
    assert same_tensors(trained.state, grouped.state)
    assert trained.dissection["history"] == grouped.dissection["history"]
    options = hyper_parameters(grouped.checkpoint, "datamodule_hyper_parameters")
    assert options["group_by"] == "(.)\\.jpg$"


@pytest.mark.parametrize("command", QUICK)
def test_the_checkpoint_s_groups_are_used_and_recorded(
    command: str, grouped: Run, bench: Bench, tmp_path: Path
) -> None:
    outcome = run(command, grouped, bench, tmp_path)
    assert outcome.code == 0, outcome.err
    # twelve images 0 to 11: the last digits 0 and 1 come twice
    assert groups_of(command, tmp_path) == Grouping("(.)\\.jpg$", 10, 8, 144 / 16)._asdict()
    off = run(command, grouped, bench, tmp_path / "off", "--data.group_by", "")
    assert off.code == 0, off.err
    assert groups_of(command, tmp_path / "off") is None


@pytest.mark.parametrize(("command", "file"), [("compare", "compare.md"), ("export", "README.md")])
def test_texts_say_how_images_are_drawn(
    command: str, file: str, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    assert run(command, trained, bench, tmp_path / "by image").code == 0
    outcome = run(command, trained, bench, tmp_path / "groups", "--data.group_by", "(.)\\.jpg$")
    alone, told = ((tmp_path / name / file).read_text() for name in ("by image", "groups"))
    assert NOTE in alone
    assert "groups" not in alone
    assert NOTE not in told
    assert (
        "drawn in 10 groups by `group_by` `(.)\\.jpg$`, 8 of them single; they count as 9 of one size."
        in told
    )
    assert "From fewer than 20 groups intervals are rough, and most are still too narrow." in told
    if command == "compare":
        assert "95% bootstrap intervals over groups of images" in told
        assert "drawn in 10 groups" in outcome.out


def test_intervals_follow_the_groups_and_scores_do_not(trained: Run, bench: Bench, tmp_path: Path) -> None:
    found = {}
    for name, group_by in {"none": "", "own": r"(\d+)\.jpg$", "few": r"[0-5]\.jpg$"}.items():
        assert run("export", trained, bench, tmp_path / name, "--data.group_by", group_by).code == 0
        found[name] = json.loads((tmp_path / name / "detectors.json").read_text())["detectors"]
    assert found["own"] == found["none"]
    assert [row["iou"] for row in found["few"]] == [row["iou"] for row in found["none"]]
    assert [row["low"] for row in found["few"]] != [row["low"] for row in found["none"]]


def test_the_page_tells_groups_of_both_its_parts(trained: Run, bench: Bench, tmp_path: Path) -> None:
    assert run("compare", trained, bench, tmp_path / "alone").code == 0
    hostile = r"(?:<b>|)(\d)\.jpg$"
    compared = ["--compare", tmp_path / "alone" / "compare.json", "--data.group_by", hostile]
    assert run("report", trained, bench, tmp_path / "page", *compared).code == 0
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "intervals over groups of images." in page
    assert r"drawn in 10 groups by group_by (?:&lt;b&gt;|)(\d)\.jpg$, 8 of them single" in page
    assert "<b>|" not in page
    assert page.count(NOTE) == 1, "of the comparison, which was made without groups"


def test_a_folder_keeps_its_groups(trained: Run, bench: Bench, tmp_path: Path) -> None:
    outcome = run("export", trained, bench, tmp_path / "one", "--data.group_by", "(.)\\.jpg$")
    assert outcome.code == 0, outcome.err
    detector = uibe.load(tmp_path / "one")
    assert detector.grouping == Grouping("(.)\\.jpg$", 10, 8, 9.0)
    detector.save(tmp_path / "two")
    folders = (tmp_path / "one", tmp_path / "two")
    labels, again = ((each / "detectors.json").read_bytes() for each in folders)
    assert labels == again
    cards = [(each / "README.md").read_text() for each in folders]
    scores, again = (re.findall("## Evaluation.*## Use", card, re.DOTALL) for card in cards)
    assert scores == again != []


@pytest.mark.parametrize("broken", [{}, 3, {"group_by": 1, "groups": 2, "single": 0, "effective": 2.0}])
def test_a_folder_with_odd_groups_is_refused(
    broken: object, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    assert run("export", trained, bench, tmp_path, "--data.group_by", "(.)\\.jpg$").code == 0
    path = tmp_path / "detectors.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "groups": broken}))
    with pytest.raises(MismatchError, match=r"detectors\.json: expected groups with"):
        uibe.load(tmp_path)


@pytest.mark.parametrize("command", QUICK)
@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("(", "data.group_by: '(' is no regular expression (missing ), unterminated subpattern"),
        ("^film", "data.group_by: '^film' matches no image of split 'val' of "),
    ],
)
def test_what_cannot_be_is_one_line(
    command: str, group_by: str, message: str, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    outcome = run(command, trained, bench, tmp_path, "--data.group_by", group_by)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: {message}")
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_run_is_resumed_whatever_its_groups(trained: Run) -> None:
    options = yaml.safe_load((trained.folder / "config.yaml").read_text(encoding="utf-8"))
    options["data"]["init_args"]["group_by"] = "(.)\\.jpg$"
    found = run_to_resume(options)
    assert found is not None
    assert found.checkpoint == trained.path
