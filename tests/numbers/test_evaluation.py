"""What is asked of a finished basis: no score, no score map and no explanation is made of NaN."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.numbers.tiny import SIDE, train_tiny, write_tiny
from tests.running import Outcome, Run, finished, run_evaluate
from uibe.errors import DataError, MismatchError
from uibe.library.detector import ConceptDetector
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors


def refused(outcome: Outcome, *mentions: str) -> None:
    assert outcome.code == 1, outcome.err
    (line,) = outcome.err.splitlines()
    for mention in mentions:
        assert mention in line


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A basis of noise images, of a network that answers white ones with NaN; not to be changed."""
    folder = tmp_path_factory.mktemp("noise")
    outcome = train_tiny(write_tiny(folder / "set"), folder, "white_is_nan", "--data.cache", "false")
    return finished(outcome, folder / "runs")


@pytest.fixture
def white(tmp_path: Path) -> Path:
    """A white image."""
    Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "white.png")
    return tmp_path / "white.png"


def test_a_validation_image_that_gives_nan_is_not_scored(noise: Run, tmp_path: Path) -> None:
    root, out = write_tiny(tmp_path / "set", white=[7]), tmp_path / "out"
    outcome = run_evaluate("score", "--ckpt_path", noise.path, "--out", out, "--data.root", root)
    refused(outcome, "images/7.png", "layer 'cut'", "nan", "channel 5")
    assert not list(out.glob("*"))


def test_an_image_that_gives_nan_is_not_explained(noise: Run, white: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = run_evaluate("explain", "--ckpt_path", noise.path, "--image", white, "--out", out)
    refused(outcome, "images[0]", "layer 'cut'", "nan", "channel 5")
    assert not list(out.glob("*"))


def test_an_image_that_gives_nan_is_not_looked_at(white: Path) -> None:
    backbone = Backbone("tests.numbers.networks:white_is_nan", None, "cut", image_size=SIDE)
    detector = ConceptDetector(backbone, InterpretableBasis(backbone.num_features))
    grey, image = Image.new("RGB", (SIDE, SIDE), "grey"), Image.open(white)
    assert bool(detector.transform([grey]).isfinite().all())
    for ask in (detector.transform, detector.detect, detector.segment, detector.explain, detector.features):
        with pytest.raises(DataError, match=r"images\[1\]: layer 'cut' gives nan in channel 5"):
            ask([grey, image])
    with pytest.raises(DataError, match="1: layer 'cut' gives nan"):
        detector.top_images(0, [grey, image])
    with pytest.raises(DataError, match="features: expected finite values"):
        detector.transform(torch.full((1, backbone.num_features, 2, 2), torch.inf))


@pytest.mark.parametrize("command", ["score", "export"])
def test_a_checkpoint_of_a_run_that_diverged_is_refused(command: str, noise: Run, tmp_path: Path) -> None:
    content, path = noise.checkpoint, tmp_path / "diverged.ckpt"
    content["state_dict"]["basis.thresholds"][2] = torch.nan
    torch.save(content, path)
    outcome = run_evaluate(command, "--ckpt_path", path, "--out", tmp_path / "out")
    refused(outcome, str(path), "basis.thresholds not finite", "the run diverged")


@pytest.mark.parametrize("kind", [InterpretableBasis, LinearDetectors])
def test_an_exported_basis_that_is_not_finite_is_refused(
    kind: type[InterpretableBasis] | type[LinearDetectors], tmp_path: Path
) -> None:
    path = tmp_path / "basis.safetensors"
    kind(3).save(path)
    kind.load(path)
    tensors = load_file(path)
    tensors["mean"][1] = torch.inf
    save_file(tensors, path, _metadata(path))
    with pytest.raises(MismatchError, match="mean: expected finite numbers"):
        kind.load(path)


def _metadata(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found
