"""Evaluation and export from a checkpoint: the digits are those of training."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import uibe.assets
from datamodules import SyntheticDataModule
from lightning_modules.checkpoint import basis_from, hyper_parameters, module_from
from tests.running import Bench, Run, broden, finished, quick, run_evaluate, run_train
from uibe.functional.detectors import projection_maps
from uibe.modules.basis import InterpretableBasis

COLUMNS = ["direction", "label", "category", "iou_train", "iou_val", "threshold", "firing_rate"]


@pytest.fixture(scope="module")
def scored(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of `score` without options."""
    out = tmp_path_factory.mktemp("score")
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "Scores on the validation split" in outcome.out
    return out


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `export`."""
    out = tmp_path_factory.mktemp("export")
    outcome = run_evaluate("export", "--ckpt_path", trained.path, "--out", out, "--replicates", "5")
    assert outcome.code == 0, outcome.err
    assert str(out / "basis.safetensors") in outcome.out
    return out / "basis.safetensors"


def test_score_repeats_the_digits_of_training(trained: Run, scored: Path) -> None:
    metrics = _json(scored)
    last = trained.dissection["history"][-1]
    assert metrics["epoch"] == last["epoch"] == 1
    assert {name: metrics[name] for name in last["learned"]} == last["learned"]
    assert list(metrics["others"]) == ["quantile", "natural", "natural_as_often"]
    for name in ("quantile", "natural"):
        assert metrics["others"][name] == last[name]
    # what to compare the basis at its own thresholds with, which training does not
    rate = metrics["others"]["natural_as_often"]["firing_rate"]
    assert 0.95 * metrics["firing_rate"] < rate <= metrics["firing_rate"]


def test_metrics_say_what_was_evaluated(trained: Run, scored: Path) -> None:
    metrics = _json(scored)
    assert metrics["thresholds"] == "learned"
    assert (metrics["quantile"], metrics["union"]) == (0.005, "annotated")
    assert metrics["layer"] == "features.4"
    assert metrics["fingerprints"]["weights"] == trained.checkpoint["uibe"]["weights_sha256"]
    assert {len(digest) for digest in metrics["fingerprints"].values()} == {64}
    assert set(metrics["fingerprints"]) == {"weights", "images", "labels"}


def test_detectors_add_up_to_the_scores(scored: Path) -> None:
    metrics, rows = _json(scored), _rows(scored)
    assert list(rows[0]) == COLUMNS
    assert [int(row["direction"]) for row in rows] == list(range(64))
    assert sum(float(row["iou_val"]) for row in rows) == pytest.approx(metrics["S1"], rel=1e-9)
    best: dict[str, float] = {}
    for row in rows:
        best[row["label"]] = max(best.get(row["label"], 0), float(row["iou_val"]))
    assert sum(best.values()) == pytest.approx(metrics["S2"], rel=1e-9)
    firing = [float(row["firing_rate"]) for row in rows]
    assert sum(firing) / len(firing) == pytest.approx(metrics["firing_rate"], rel=1e-9)


def test_categories_add_up_to_the_whole(scored: Path) -> None:
    metrics, rows = _json(scored), _rows(scored)
    for name, scores in metrics["categories"].items():
        own = [float(row["iou_val"]) for row in rows if row["category"] == name]
        assert sum(own) == pytest.approx(scores["S1"], rel=1e-9), name
    assert sum(scores["S1"] for scores in metrics["categories"].values()) == pytest.approx(metrics["S1"])


def test_nothing_partial_is_left(scored: Path, exported: Path) -> None:
    assert sorted(path.name for path in scored.iterdir()) == ["detectors.csv", "metrics.json"]
    written = ["README.md", "basis.safetensors", "config.json", "detectors.json"]
    assert sorted(path.name for path in exported.parent.iterdir()) == written


def test_export_says_where_it_came_from(trained: Run, exported: Path) -> None:
    with safe_open(exported, "pt") as file:
        metadata = file.metadata()
        directions, thresholds = file.get_tensor("directions"), file.get_tensor("thresholds")
    assert directions.shape == (64, 64)
    assert thresholds.shape == (64,)
    assert metadata["backbone"] == "uibe.modules.small_cnn:small_cnn"
    assert metadata["layer"] == "features.4"
    assert metadata["weights_sha256"] == trained.checkpoint["uibe"]["weights_sha256"]
    assert len(json.loads(metadata["mean"])) == len(json.loads(metadata["sd"])) == 64
    assert float(metadata["margin"]) > 0


def test_exported_directions_fire_where_the_detectors_do(trained: Run, exported: Path, scored: Path) -> None:
    with safe_open(exported, "pt") as file:
        directions, thresholds = file.get_tensor("directions"), file.get_tensor("thresholds")
    features = _features(trained)
    fires = projection_maps(features, directions) > thresholds[:, None, None]
    plain = torch.einsum("id,ndhw->nihw", directions, features) > thresholds[:, None, None]
    rates = [float(row["firing_rate"]) for row in _rows(scored)]
    assert fires.double().mean((0, 2, 3)).tolist() == pytest.approx(rates, abs=0)
    assert 0 < rates[0] < 1
    assert (fires != plain).double().mean() < 1e-4  # another order of summation


def test_exported_standardization_unfolds_the_thresholds(trained: Run, exported: Path) -> None:
    with safe_open(exported, "pt") as file:
        metadata = file.metadata()
    features = _features(trained).permute(0, 2, 3, 1).flatten(0, 2).double()
    assert json.loads(metadata["mean"]) == pytest.approx(features.mean(0).tolist(), rel=1e-4, abs=1e-6)
    deviations = features.std(0, correction=0).tolist()
    assert json.loads(metadata["sd"]) == pytest.approx(deviations, rel=1e-3, abs=1e-6)


def test_loaded_export_is_the_basis_of_the_checkpoint(trained: Run, exported: Path) -> None:
    loaded, original = InterpretableBasis.load(exported), basis_from(trained.checkpoint)
    for one, other in zip(loaded.detectors(), original.detectors(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
    assert loaded.margin.item() == pytest.approx(original.margin.item(), rel=1e-6)


def test_score_from_another_folder(
    trained: Run, bench: Bench, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data.root", bench.root, "--data.cache_dir", bench.cache]
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", "here", *data)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "here/metrics.json").read_text() == (scored / "metrics.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_score_finds_moved_data(trained: Run, bench: Bench, scored: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(bench.root, tmp_path / "moved")
    data = ["--data.root", moved, "--data.cache_dir", tmp_path / "cache", "--data.batch_size", "12"]
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path / "out", *data)
    assert outcome.code == 0, outcome.err
    found, expected = _json(tmp_path / "out"), _json(scored)
    assert found["S1"] == pytest.approx(expected["S1"], rel=1e-3)  # other batches round otherwise
    assert found["fingerprints"] == expected["fingerprints"]


def test_quantile_thresholds_on_demand(trained: Run, scored: Path, tmp_path: Path) -> None:
    outcome = run_evaluate(
        "score", "--ckpt_path", trained.path, "--out", tmp_path, "--thresholds", "quantile"
    )
    assert outcome.code == 0, outcome.err
    metrics, last = _json(tmp_path), trained.dissection["history"][-1]
    assert metrics["thresholds"] == "quantile"
    assert metrics["S1"] == last["quantile"]["S1"]
    assert metrics["others"]["learned"] == last["learned"]
    assert [row["threshold"] for row in _rows(tmp_path)] != [row["threshold"] for row in _rows(scored)]


def test_quantile_sets_the_firing_rate(trained: Run, tmp_path: Path) -> None:
    options = ["--thresholds", "quantile", "--quantile", "0.1"]
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path, *options)
    assert outcome.code == 0, outcome.err
    rates = [float(row["firing_rate"]) for row in _rows(tmp_path)]
    assert rates == pytest.approx([0.1] * 64, abs=2 / (24 * 36))
    assert _json(tmp_path)["quantile"] == 0.1


def test_union_on_demand(trained: Run, broden_root: Path, tmp_path: Path) -> None:
    sparse = ["--data.root", broden_root, "--data.cache_dir", tmp_path / "cache"]  # few pixels are labelled
    areas = []
    for union in ("annotated", "netdissect-lite"):
        out = ["--out", tmp_path / union, "--union", union]
        outcome = run_evaluate("score", "--ckpt_path", trained.path, *out, *sparse)
        assert outcome.code == 0, outcome.err
        assert _json(tmp_path / union)["union"] == union
        areas.append([row["iou_train"] for row in _rows(tmp_path / union)])
    pairs = list(zip(*areas, strict=True))
    assert all(float(lite) >= float(annotated) for annotated, lite in pairs)  # areas of fewer images
    assert areas[0] != areas[1]


def test_labelled_data_of_another_kind_can_be_scored(trained: Run, broden_root: Path, tmp_path: Path) -> None:
    data = ["--data.root", broden_root, "--data.cache_dir", tmp_path / "cache"]
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path / "out", *data)
    assert outcome.code == 0, outcome.err
    assert set(_json(tmp_path / "out")["categories"]) == {"color", "object", "part", "scene", "texture"}


def test_basis_learned_without_labels_is_scored_on_labelled_images(
    bench: Bench, trained: Run, tmp_path: Path
) -> None:
    data = ["--data", "datamodules.ImageFolderDataModule", "--data.root", bench.root / "images"]
    with pytest.warns(UserWarning, match="no labels"):
        outcome = run_train(*data, "--data.cache_dir", tmp_path / "cache", *quick(tmp_path / "runs"))
    run = finished(outcome, tmp_path / "runs")
    score = ["score", "--ckpt_path", run.path, "--out", tmp_path / "out"]
    refused = run_evaluate(*score)
    assert refused.code == 1
    assert refused.err.startswith("error: data.root: learned on images without labels")
    accepted = run_evaluate(*score, "--data.root", bench.root)
    assert accepted.code == 0, accepted.err
    assert _json(tmp_path / "out")["S1"] > 0


def test_data_that_is_gone_is_named(broden_root: Path, tmp_path: Path) -> None:
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    run = finished(outcome, tmp_path / "runs")
    moved = broden_root.rename(tmp_path / "moved")
    score = ["score", "--ckpt_path", run.path, "--out", tmp_path / "out"]
    lost = run_evaluate(*score)
    assert (lost.code, len(lost.err.splitlines())) == (1, 1)
    assert lost.err.startswith(
        f"error: {broden_root}: no such folder; it is the checkpoint's data root; give "
    )
    assert "fetch" not in lost.err
    assert not (tmp_path / "out").exists()
    assert run_evaluate(*score, "--data.root", moved).code == 0
    last = run.dissection["history"][-1]["learned"]
    assert _json(tmp_path / "out")["S1"] == last["S1"]


@pytest.mark.parametrize("command", ["score", "report", "compare"])
def test_a_relative_data_root_is_told_and_leaves_no_folder(
    command: str, broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broden_root.parent)
    args = broden(Path(broden_root.name), tmp_path / "cache")
    run = finished(run_train(*args, *quick(tmp_path / "runs")), tmp_path / "runs")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    outcome = run_evaluate(command, "--ckpt_path", run.path, "--out", "results/deep")
    assert outcome.err == (
        f"error: {broden_root.name}: no such folder; it is the checkpoint's data root from the folder in "
        "which it was trained; give --data.root\n"
    )
    assert list(elsewhere.iterdir()) == []


def test_weights_that_moved_are_found(trained: Run, scored: Path, tmp_path: Path) -> None:
    weights = tmp_path / "elsewhere.safetensors"
    shutil.copy(Path(uibe.assets.__file__).with_name("small_cnn.safetensors"), weights)
    outcome = run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path, "--weights", weights)
    assert outcome.code == 0, outcome.err
    assert _json(tmp_path) == _json(scored)


def _json(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "detectors.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _features(run: Run) -> torch.Tensor:
    """Cached features of the training split."""
    module = module_from(run.checkpoint)
    data = SyntheticDataModule(**hyper_parameters(run.checkpoint, "datamodule_hyper_parameters"))
    return torch.cat(list(data.open(module.backbone).feature_batches("train")))
