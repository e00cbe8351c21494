"""`evaluate.py report`: its files, its digits, reruns, and one line for what cannot be."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lightning_modules.checkpoint import module_from
from tests.running import Bench, Outcome, Run, fit, run_evaluate
from uibe.data.index import BrodenIndex
from uibe.functional.detectors import projection_maps

QUICK = ["--replicates", "10", "--images", "3", "--class_images", "1"]


def report(trained: Run, out: Path, *extra: str | Path) -> Outcome:
    return run_evaluate("report", "--ckpt_path", trained.path, "--out", out, *QUICK, *extra)


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def made(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    outcome = report(trained, folder)
    assert outcome.code == 0, outcome.err
    assert "64 detectors" in outcome.out
    return folder


def test_page_and_pictures_belong_together_and_nothing_is_partial(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {"detectors", "index.html", "report.json"}
    named = {each["sprite"] for each in content(made)["detectors"]}
    assert {f"detectors/{path.name}" for path in (made / "detectors").iterdir()} == named
    page = (made / "index.html").read_text(encoding="utf-8")
    assert len(named) == 64
    assert all(f'src="{sprite}"' in page for sprite in named)


def test_about_names_the_data_and_what_to_do_next(trained: Run, bench: Bench, made: Path) -> None:
    about = content(made)["about"]
    index = BrodenIndex.read(bench.root)
    sizes = [len(index.split_rows(split)) for split in ("train", "val")]
    assert about["data"] == about["facts"]["data"] == bench.root.name
    assert about["facts"]["images"] == f"{sizes[0]} train, {sizes[1]} val"
    assert about["facts"]["concepts"].startswith(f"{len(index.labels.names)}: ")
    verbs = [line.split()[2] for line in about["commands"]]
    assert verbs == ["score", "report", "explain", "export"]
    assert all(f"--ckpt_path {trained.path}" in line for line in about["commands"])


def test_digits_are_those_of_the_score_command(trained: Run, made: Path, tmp_path: Path) -> None:
    assert run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path).code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    found = content(made)
    scores = {each["name"]: each for each in found["scores"]}
    assert list(scores) == ["learned", "quantile", "natural", "natural_as_often"]
    rates = [scores[name]["firing_rate"] for name in ("learned", "natural_as_often")]
    assert 0.95 * rates[0] < rates[1] <= rates[0]  # tied pixels stay below a threshold together
    for name, expected in {"learned": metrics, **metrics["others"]}.items():
        for key in ("S1", "S2", "interpretable", "unique"):
            assert scores[name]["scores"][key]["value"] == pytest.approx(expected[key], rel=1e-12)
    assert scores["learned"]["curves"] == metrics["curves"]
    for each in found["categories"]:
        assert each["scores"]["S1"]["value"] == pytest.approx(metrics["categories"][each["name"]]["S1"])
    lines = (tmp_path / "detectors.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == [each["label"] for each in found["detectors"]]


def test_images_are_the_strongest_of_validation(trained: Run, bench: Bench, made: Path) -> None:
    module = module_from(trained.checkpoint)
    index = BrodenIndex.read(bench.root)
    names = [index.rows[row].image for row in index.split_rows("val")]
    images = [Image.open(bench.root / "images" / name).convert("RGB") for name in names]
    features = module.backbone.features(torch.stack([module.backbone.preprocessing(each) for each in images]))
    peaks = projection_maps(features, module.basis.detectors().directions).flatten(2).amax(2)
    for each in content(made)["detectors"]:
        found = [float(peaks[names.index(name), each["number"]]) for name in each["images"]]
        expected = peaks[:, each["number"]].sort(descending=True).values[:3]
        assert found == pytest.approx(expected.tolist(), rel=1e-3)
        assert each["fires_in"] == [peak > each["threshold"] for peak in found]
        assert each["fires_in_val"] == bool(expected[0] > each["threshold"])


def test_affected_classes_are_those_a_nudge_moves(trained: Run, made: Path) -> None:
    module = module_from(trained.checkpoint)
    backbone, directions = module.backbone, module.basis.detectors().directions
    features = torch.rand(1, backbone.num_features, *backbone.feature_size)
    inverse = torch.linalg.pinv(directions.double())
    for each in content(made)["detectors"][:5]:
        nudge = inverse[:, each["number"]].float()[None, :, None, None]
        change = (backbone.head(features + nudge) - backbone.head(features))[0]
        names = backbone.class_names or [f"class {k}" for k in range(len(change))]
        changes = dict(zip(names, change.tolist(), strict=True))
        shown = {one["name"]: one["change"] for one in each["classes"]}
        assert shown == pytest.approx({name: changes[name] for name in shown}, rel=1e-2, abs=1e-4)
        left = [abs(value) for name, value in changes.items() if name not in shown]
        assert min(map(abs, shown.values())) >= max(left, default=0) - 1e-3


def test_classes_before_a_linear_head_need_no_option(trained: Run, made: Path, tmp_path: Path) -> None:
    outcome = run_evaluate("report", "--ckpt_path", trained.path, "--out", tmp_path, *QUICK[:4])
    assert outcome.code == 0, outcome.err
    assert re.search(r"affected classes: \d+, exact for every image", outcome.out)
    assert [each["classes"] for each in content(tmp_path)["detectors"]] == [
        each["classes"] for each in content(made)["detectors"]
    ]


def test_classes_before_another_head_are_shown_where_they_are_asked_for(
    bench: Bench, trained: Run, tmp_path: Path
) -> None:
    del trained  # it writes the rendered set
    early = fit(bench, tmp_path / "runs", "--model.layer", "features.3")
    outcome = run_evaluate("report", "--ckpt_path", early.path, "--out", tmp_path / "page", *QUICK[:4])
    assert outcome.code == 0, outcome.err
    assert "affected classes are left out: they differ from image to image" in outcome.out
    assert all(each["classes"] == [] for each in content(tmp_path / "page")["detectors"])
    outcome = report(early, tmp_path / "page")
    assert outcome.code == 0, outcome.err
    assert re.search(r"affected classes: \d+, mean over 1 image \(--class_images\)", outcome.out)
    assert all(each["classes"] for each in content(tmp_path / "page")["detectors"])


def test_rerun_replaces_its_own_files_and_leaves_others(trained: Run, tmp_path: Path) -> None:
    assert report(trained, tmp_path, "--thresholds", "quantile").code == 0
    first = {path.name for path in (tmp_path / "detectors").iterdir()}
    (tmp_path / "detectors" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    assert report(trained, tmp_path, "--class_images", "0").code == 0
    second = {path.name for path in (tmp_path / "detectors").iterdir()}
    assert second - {"notes.txt"} == {Path(each["sprite"]).name for each in content(tmp_path)["detectors"]}
    assert first - second  # pictures of the first run that the second has not
    assert (tmp_path / "metrics.json").read_text(encoding="utf-8") == "{}"
    assert content(tmp_path)["scores"][0]["name"] == "learned"
    assert all(each["classes"] == [] for each in content(tmp_path)["detectors"])


def test_comparison_of_the_same_layer_is_shown(trained: Run, tmp_path: Path) -> None:
    outcome = run_evaluate(
        *(
            "compare",
            "--ckpt_path",
            trained.path,
            "--out",
            tmp_path,
            "--bases",
            "natural",
            "--binary",
            "false",
        ),
        *("--replicates", "10", "--threshold_steps", "2", "--shares", "0.005", "0.05"),
    )
    assert outcome.code == 0, outcome.err
    outcome = report(trained, tmp_path / "page", "--compare", tmp_path / "compare.json")
    assert outcome.code == 0, outcome.err
    document = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    shown = content(tmp_path / "page")["comparison"]
    own = {each["basis"]: each["firing_rate"] for each in document["rows"] if each["thresholds"] == "own"}
    assert shown["own_rate"] == own["learned"]
    assert shown["differences"] == [
        {
            "name": "natural",
            "meaning": "the layer's channels as they are",
            "own_rate": own["natural"],
            **{key: document["differences"]["natural"][key] for key in ("area", "own")},
        }
    ]
    assert "S2 against the firing rate" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")

    document["options"]["layer"] = "features.2"
    (tmp_path / "other.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = report(trained, tmp_path / "no", "--compare", tmp_path / "other.json")
    assert outcome.code == 1
    assert "features.2" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("text", "expected"), [(None, "cannot be read"), ("[]", "compare.json"), ("{", "compare.json")]
)
def test_what_is_no_comparison_is_one_line(
    trained: Run, tmp_path: Path, text: str | None, expected: str
) -> None:
    file = tmp_path / "compare.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    outcome = report(trained, tmp_path / "out", "--compare", file)
    assert outcome.code == 1
    assert expected in outcome.err
    assert str(file) in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("option", [("--images", "0"), ("--replicates", "0"), ("--class_images", "-1")])
def test_impossible_numbers_are_one_line(trained: Run, tmp_path: Path, option: tuple[str, str]) -> None:
    outcome = report(trained, tmp_path, *option)
    assert outcome.code == 1
    assert option[0] in outcome.err
    assert outcome.err.count("\n") == 1


def test_several_processes_are_refused(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in report(trained, tmp_path).err
