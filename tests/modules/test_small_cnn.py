"""The small CNN and the weights that the repository carries for it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import uibe.assets
from uibe.assets.train_small_cnn import main
from uibe.data.synthetic_labels import CATEGORIES
from uibe.modules.small_cnn import SmallCNN, small_cnn

WEIGHTS = Path(uibe.assets.__file__).with_name("small_cnn.safetensors")


def _metadata(path: Path) -> dict[str, object]:
    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in file.metadata().items()}


@pytest.fixture
def model() -> SmallCNN:
    model = small_cnn().eval()
    model.load_state_dict(load_file(WEIGHTS))
    return model


def test_shipped_weights_are_small_and_say_what_they_need(model: SmallCNN) -> None:
    metadata = _metadata(WEIGHTS)
    assert WEIGHTS.stat().st_size < 1_000_000
    names = [name for category in ("object", "scene", "texture") for name in CATEGORIES[category]]
    parts = {"wall", "window"}  # labels of two categories belong to the one where they are more frequent
    assert set(metadata["class_names"]) == set(names) - parts
    assert len(metadata["class_names"]) == model.classifier.out_features
    assert metadata["input_size"] == [96, 96]
    assert len(metadata["mean"]) == len(metadata["std"]) == 3


def test_last_stage_holds_several_concepts_at_once(model: SmallCNN) -> None:
    features = model.features(torch.randn(2, 3, 96, 96))
    assert features.shape == (2, 64, 12, 12)
    assert (features >= 0).all()


def test_logits_are_linear_in_the_features_of_the_last_stage(model: SmallCNN) -> None:
    images = torch.randn(2, 3, 96, 96)
    by_position = model.features(images).permute(0, 2, 3, 1) @ model.classifier.weight.T
    expected = by_position.mean((1, 2)) + model.classifier.bias
    torch.testing.assert_close(model(images), expected, atol=1e-4, rtol=1e-4)


def test_training_writes_weights_that_fit(tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"
    sizes = {"--num-train": 24, "--num-val": 40, "--epochs": 1}
    scores = main([f"{key}={value}" for key, value in sizes.items()] + [f"--output={output}"])
    assert all(0 <= score <= 1 for score in scores.values())
    names = _metadata(output)["class_names"]
    small_cnn(len(names)).load_state_dict(load_file(output))
