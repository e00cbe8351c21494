"""The folder's format: one written by hand, as version 1 was, still loads, and gives what it should."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import uibe
from uibe.errors import MismatchError
from uibe.library import Label
from uibe.modules.backbone import Backbone

NETWORK = ("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two supervised detectors; nothing of ours writes it."""
    weights = torch.zeros(2, 64)
    weights[0, 3], weights[1, 5] = 1.0, 2.0
    tensors = {
        "directions": weights / torch.tensor([[1.0], [2.0]]),
        "thresholds": torch.tensor([0.25, -0.5]),
        "weights": weights,
        "standardized_thresholds": torch.tensor([0.25, -1.0]),
        "concepts": torch.tensor([7, 9]),
        "mean": torch.zeros(64),
        "transform": torch.ones(64),
    }
    metadata = {
        "format": "uibe-linear-1",
        "standardization": "zscore",
        "concept_names": json.dumps(["road", "sky"]),
    }
    save_file(tensors, tmp_path / "basis.safetensors", metadata)
    rows = [
        {"direction": n, "concept": name, "category": "object", "iou": 0.5, "low": 0.4, "high": 0.6}
        for n, name in enumerate(["road", "sky"])
    ]
    (tmp_path / "detectors.json").write_text(json.dumps({"detectors": rows}))
    config = {
        "format": 1,
        "library_name": "uibe",
        "basis": "LinearDetectors",
        "num_directions": 2,
        "num_features": 64,
        "weights_sha256": Backbone(*NETWORK).weights_sha256,
        **dict(zip(("backbone", "weights", "layer"), NETWORK, strict=True)),
        "image_size": [48, 48],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "input_range": [0.0, 1.0],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_folder_of_version_1_loads(folder: Path, tmp_path: Path) -> None:
    detector = uibe.load(folder)
    assert detector.labels == tuple(Label(name, "object", 0.5, 0.4, 0.6) for name in ("road", "sky"))
    image = Image.linear_gradient("L")
    features = detector.features(image)
    assert features.shape == (1, 64, 6, 6)
    expected = torch.stack([features[0, 3] - 0.25, 2 * features[0, 5] + 1]).sigmoid()
    torch.testing.assert_close(detector.transform(image)[0], expected)
    again = uibe.load(detector.save(tmp_path / "again"))
    assert again.labels == detector.labels
    assert torch.equal(again.transform(image), detector.transform(image))


def test_a_newer_one_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 2}))
    with pytest.raises(MismatchError, match=r"format 2 is newer than this version's 1; update uibe"):
        uibe.load(folder)
