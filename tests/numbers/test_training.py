"""Numbers that no network should give: from the command line a finite basis, or one line of what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.numbers.tiny import train_tiny, write_tiny
from tests.running import Outcome, Run, finished
from uibe.functional.orthogonal import orthogonality_error

UNCACHED = ["--data.cache", "false"]
SUPERVISED = ["--model", "lightning_modules.SupervisedModule", "--model.min_frequency", "1"]


def refused(outcome: Outcome, folder: Path, *mentions: str) -> None:
    """One line with all that it should mention, and neither a cache nor a checkpoint."""
    assert outcome.code == 1, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for mention in mentions:
        assert mention in line
    assert not list(folder.rglob("*.ckpt"))


def sound(run: Run) -> dict[str, Any]:
    """A run of finite numbers, a rotation and scores in their ranges; the last scores."""
    for name, tensor in run.state.items():
        assert tensor.isfinite().all(), name
    base = run.state["basis.rotation.base"].double()
    assert float(orthogonality_error(base)) < 1e-5
    last: dict[str, Any] = run.dissection["history"][-1]
    for policy in ("learned", "quantile", "natural"):
        assert 0 <= last[policy]["S2"] <= last[policy]["S1"] <= len(base)
        assert 0 <= last[policy]["firing_rate"] <= 1
    return last


LEARNED: dict[str, tuple[str, list[str]]] = {
    "constant channels": ("constant_channels", []),
    "constant channels, whitened": ("constant_channels", ["--model.standardization", "whiten"]),
    "constant channels, k-means": ("constant_channels", ["--model.start", "kmeans"]),
    "constant channels, principal axes": ("constant_channels", ["--model.start", "pca"]),
    "outliers": ("outliers", []),
    "outliers, as they are": ("outliers", ["--model.standardization", "none"]),
    "outliers, bfloat16 products": ("outliers", ["--trainer.precision", "bf16-mixed"]),
    "outliers, float64": ("outliers", ["--trainer.precision", "64-true"]),
    "outliers, plain autograd": ("outliers", ["--model.fused", "false", "--model.rotation_map", "cayley"]),
    "one channel, whitened": ("narrow", ["--model.standardization", "whiten"]),
    "one channel, principal axes": ("narrow", ["--model.start", "pca"]),
    "beyond float16": ("loud", ["--data.cache_dtype", "bfloat16"]),
}


@pytest.mark.parametrize("case", LEARNED)
def test_a_basis_of_odd_features_is_finite_and_a_rotation(case: str, tmp_path: Path) -> None:
    network, options = LEARNED[case]
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, network, *options)
    sound(finished(outcome, tmp_path / "runs"))


def test_constant_channels_are_mapped_to_zero_however_large_they_are(tmp_path: Path) -> None:
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, "constant_channels")
    transform = finished(outcome, tmp_path / "runs").state["basis.standardizer.transform"]
    assert (transform == 0).tolist() == [True, True, *[False] * 6]


@pytest.mark.parametrize("sizes", [{"train": 1, "val": 1}, {"concepts": 1}])
def test_one_image_or_one_concept_is_enough(sizes: dict[str, int], tmp_path: Path) -> None:
    outcome = train_tiny(write_tiny(tmp_path / "set", **sizes), tmp_path, "plain")
    sound(finished(outcome, tmp_path / "runs"))


def test_thresholds_that_nothing_exceeds_score_nothing(tmp_path: Path) -> None:
    still = ["--model.start_firing", "0", "--model.lr", "1e-30"]
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, "plain", *still)
    learned = sound(finished(outcome, tmp_path / "runs"))["learned"]
    assert (learned["S1"], learned["S2"], learned["interpretable"], learned["unique"]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("network", "standardization"),
    [("dead", "none"), ("dead", "zscore"), ("alike", "none"), ("alike", "whiten")],
)
def test_a_layer_that_says_nothing_is_refused(network: str, standardization: str, tmp_path: Path) -> None:
    options = ["--model.standardization", standardization]
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, network, *options)
    refused(outcome, tmp_path, "every channel is constant")


@pytest.mark.parametrize(
    ("network", "value", "row", "options"),
    [
        ("white_is_nan", "nan", 2, []),
        ("white_is_nan", "nan", 2, UNCACHED),
        ("white_is_nan", "nan", 7, UNCACHED),  # of the validation split
        ("white_is_infinite", "inf", 7, []),
        ("white_is_infinite", "inf", 7, UNCACHED),
    ],
)
def test_a_value_that_is_not_finite_is_refused_by_image_and_layer(
    network: str, value: str, row: int, options: list[str], tmp_path: Path
) -> None:
    root = write_tiny(tmp_path / "set", white=[row])
    outcome = train_tiny(root, tmp_path, network, "--model.standardization", "none", *options)
    refused(outcome, tmp_path, f"images/{row}.png", "layer 'cut'", "channel 5", value)
    assert not list(tmp_path.glob("cache/*"))


@pytest.mark.parametrize("network", ["loud", "outliers"])
def test_what_float16_cannot_hold_is_refused_by_image_and_layer(network: str, tmp_path: Path) -> None:
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, network, "--data.cache_dtype", "float16")
    refused(outcome, tmp_path, "images/0.png", "layer 'cut'", 'use dtype "float32" (data.cache_dtype)')
    assert not list(tmp_path.glob("cache/*"))


DIVERGING = {
    "rate": ["--model.lr", "1e30"],
    "margin": ["--model.margin", "1e-30"],
    "weight": ["--model.sparsity_weight", "1e38"],
    "within an epoch": ["--model.sparsity_weight", "1e38", "--checkpoint.every_steps", "1"],
    "last step": ["--model.lr", "1e30", "--trainer.max_steps", "2"],
    "supervised": [*SUPERVISED, "--model.lr", "1e38"],
}


@pytest.mark.parametrize("case", DIVERGING)
def test_a_run_that_diverged_is_refused_before_its_scores_and_its_checkpoint(
    case: str, tmp_path: Path
) -> None:
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, "plain", *DIVERGING[case])
    refused(outcome, tmp_path, "not finite after step", "the run diverged", "model.lr")


@pytest.mark.parametrize(("precision", "module"), [("16-true", []), ("bf16-true", SUPERVISED)])
def test_half_precision_parameters_are_refused(precision: str, module: list[str], tmp_path: Path) -> None:
    options = [*module, "--trainer.precision", precision]
    outcome = train_tiny(write_tiny(tmp_path / "set"), tmp_path, "plain", *options)
    refused(outcome, tmp_path, f"trainer.precision: {precision}", precision.replace("true", "mixed"))


def test_supervised_detectors_of_odd_features_are_finite(tmp_path: Path) -> None:
    for network in ("constant_channels", "outliers", "narrow"):
        folder = tmp_path / network
        whitened = ["--model.standardization", "whiten"]
        outcome = train_tiny(write_tiny(folder / "set"), folder, network, *SUPERVISED, *whitened)
        state = finished(outcome, folder / "runs").state
        assert all(tensor.isfinite().all() for tensor in state.values()), network
        assert torch.count_nonzero(state["basis.weights"]) > 0
