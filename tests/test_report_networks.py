"""`evaluate.py report` on other checkpoints: a supervised basis, networks with branches."""

from pathlib import Path

import pytest
import torch

from lightning_modules.checkpoint import module_from
from tests.running import (
    IMAGE_SIZE,
    Bench,
    Outcome,
    Run,
    finished,
    fit,
    quick,
    run_evaluate,
    run_train,
    synthetic,
)
from tests.test_report import content
from uibe.library.explaining import coordinates_of

QUICK = ("--replicates", "5", "--images", "2", "--class_images", "1")


def report(run: Run, out: Path) -> Outcome:
    return run_evaluate("report", "--ckpt_path", run.path, "--out", out, *QUICK)


def test_supervised_checkpoint(bench: Bench, trained: Run, tmp_path: Path) -> None:
    del trained  # it writes the rendered set
    options = [*synthetic(bench.root, bench.cache), *quick(tmp_path)]
    run = finished(
        run_train("fit", "--model", "SupervisedModule", *options, "--model.min_frequency", "3"),
        tmp_path,
    )
    outcome = report(run, tmp_path / "page")
    assert outcome.code == 0, outcome.err
    found = content(tmp_path / "page")
    assert len(found["detectors"]) == len(run.state["basis.concepts"]) < 64
    assert [each["title"] for each in found["scores"]][:1] == ["supervised, own thresholds"]
    assert all(each["classes"] for each in found["detectors"])


def branching(bench: Bench, runs: Path, layer: str) -> Run:
    return fit(
        bench,
        runs,
        *("--model.backbone", "tests.modules.test_backbone:Skips", "--model.layer", layer),
        *("--model.weights", "null", "--model.image_size", IMAGE_SIZE),
    )


def test_classes_are_followed_through_every_branch(bench: Bench, trained: Run, tmp_path: Path) -> None:
    del trained
    run = branching(bench, tmp_path, "body")
    assert report(run, tmp_path / "page").code == 0
    module = module_from(run.checkpoint)
    tail = module.backbone.network.tail.weight[:, :, 0, 0]
    direct = torch.eye(4) + tail  # both ways from the layer to the pooled logits
    expected = direct.double() @ coordinates_of(module.basis).inverse
    for each in content(tmp_path / "page")["detectors"]:
        shown = {one["name"]: one["change"] for one in each["classes"]}
        column = {f"class {k}": float(value) for k, value in enumerate(expected[:, each["number"]])}
        assert shown == pytest.approx(column, rel=1e-4, abs=1e-6)


def test_classes_are_left_out_where_a_branch_goes_round_the_layer(
    bench: Bench, trained: Run, tmp_path: Path
) -> None:
    del trained
    outcome = report(branching(bench, tmp_path, "tail"), tmp_path / "page")
    assert outcome.code == 0, outcome.err
    assert "affected classes are left out: layer 'tail': a branch goes round it" in outcome.out
    assert all(each["classes"] == [] for each in content(tmp_path / "page")["detectors"])
