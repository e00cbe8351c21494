"""`evaluate.py compare`: files, digits, cached peers, bases of others, and one line for what cannot be."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from commands import bases as named
from tests.running import Outcome, Run, run_evaluate

QUICK = ["--replicates", "20", "--random_seeds", "2", "--threshold_steps", "5", "--shares", "0.005", "0.05"]


def compare(trained: Run, out: Path, bases: Sequence[str | Path], *extra: str | Path) -> Outcome:
    return run_evaluate(
        "compare", "--ckpt_path", trained.path, "--out", out, "--bases", *bases, *QUICK, *extra
    )


@pytest.fixture(scope="module")
def compared(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare")
    outcome = compare(trained, out, ["natural", "random", "pca"])
    assert outcome.code == 0, outcome.err
    assert "| natural |" in outcome.out
    return out


def test_every_basis_has_a_row_for_every_rule(compared: Path) -> None:
    found = [(row["basis"], row["thresholds"], row["share"]) for row in _rows(compared)]
    rules = [("quantile", "0.005"), ("quantile", "0.05"), ("own", "")]
    names = ["learned", "natural", "random 0", "random 1", "pca"]
    assert found == [(name, *rule) for name in names for rule in rules]
    for row in _rows(compared):
        assert float(row["S1_low"]) <= float(row["S1_high"])
        if row["thresholds"] == "quantile":
            assert float(row["firing_rate"]) <= float(row["share"])
        assert 0 < float(row["random_iou_95"]) < 1


def test_scores_are_those_of_the_score_command(trained: Run, compared: Path, tmp_path: Path) -> None:
    assert run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path).code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    rows = {(row["basis"], row["share"]): row for row in _rows(compared)}
    for key, expected in {
        ("learned", ""): metrics,
        ("learned", "0.005"): metrics["others"]["quantile"],
        ("natural", "0.005"): metrics["others"]["natural"],
    }.items():
        for name in ("S1", "S2", "interpretable", "unique", "firing_rate"):
            assert float(rows[key][name]) == pytest.approx(expected[name], rel=1e-12), (key, name)


def test_document_holds_differences_causes_and_options(trained: Run, compared: Path) -> None:
    document = _document(compared)
    assert document["reference"] == "learned"
    assert set(document["differences"]) == {"natural", "pca", "random (mean of 2)"}
    assert set(document["differences"]["natural"]) == {"area", "0.005", "0.05", "own"}
    assert set(document["gain_by_cause"]) == {"thresholds", "directions", "total"}
    assert document["options"]["layer"] == "features.4"
    assert document["options"]["fingerprints"]["weights"] == trained.checkpoint["uibe"]["weights_sha256"]
    rows = {(row["basis"], row["share"]): row["S1"] for row in document["rows"]}
    gap = document["differences"]["natural"]["0.05"]["S1"]["value"]
    assert gap == pytest.approx(rows["learned", 0.05] - rows["natural", 0.05])


def test_figures_are_there_twice_and_nothing_partial(compared: Path) -> None:
    names = {path.name for path in compared.iterdir()}
    figures = {"firing_rate"}
    figures |= {
        f"{kind}_{at}" for kind in ("iou_cut", "categories", "iou_histogram") for at in ("quantile", "own")
    }
    tables = {"compare.csv", "compare.json", "compare.md"}
    assert names == tables | {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    assert all((compared / name).stat().st_size > 100 for name in names)


def test_another_basis_is_fitted_alone(
    trained: Run, compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []

    def fit(name: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as what it stands for
        fitted.append(name)
        return real(name, *args, **options)

    real = named.fit_peer
    monkeypatch.setattr(named, "fit_peer", fit)
    outcome = compare(trained, tmp_path / "more", ["natural", "random", "pca", "kmeans"])
    assert outcome.code == 0, outcome.err
    assert fitted == ["kmeans"]
    shared = [row for row in _rows(tmp_path / "more") if row["basis"] != "kmeans"]
    assert shared == _rows(compared)


def test_a_basis_of_others_is_compared_too(trained: Run, compared: Path, tmp_path: Path) -> None:
    assert run_evaluate("export", "--ckpt_path", trained.path, "--out", tmp_path).code == 0
    tensors = load_file(tmp_path / "basis.safetensors")
    other = tmp_path / "theirs.safetensors"
    save_file({name: tensors[name][:7].contiguous() for name in ("directions", "thresholds")}, other)
    outcome = compare(trained, tmp_path / "out", [other, tmp_path / "basis.safetensors"])
    assert outcome.code == 0, outcome.err
    rows = {(row["basis"], row["share"]): row for row in _rows(tmp_path / "out")}
    assert rows["theirs", ""]["detectors"] == "7"
    same = rows["basis", ""]
    assert float(same["S1"]) == pytest.approx(float(rows["learned", ""]["S1"]), rel=1e-6)


@pytest.mark.parametrize(
    ("bases", "extra", "message"),
    [
        (["principal"], [], "--bases: expected natural, random, pca"),
        (["nowhere.safetensors"], [], "nowhere.safetensors: no such file"),
        (["natural"], ["--shares", "[1.5]"], "--shares: expected shares between 0 and 1"),
        (["natural"], ["--replicates", "0"], "--replicates and --random_seeds: expected at least 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    trained: Run, tmp_path: Path, bases: list[str], extra: list[str], message: str
) -> None:
    outcome = compare(trained, tmp_path, bases, *extra)
    assert outcome.code != 0
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_directions_of_another_layer_are_refused(trained: Run, tmp_path: Path) -> None:
    path = tmp_path / "narrow.safetensors"
    save_file({"directions": torch.eye(5), "thresholds": torch.zeros(5)}, path)
    outcome = compare(trained, tmp_path, [path])
    assert outcome.code != 0
    assert "directions of 5 channels; the layer has 64" in outcome.err


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "compare.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _document(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "compare.json").read_text(encoding="utf-8")))
