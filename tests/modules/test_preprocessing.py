"""From a picture to a network's input and back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from uibe.errors import ConfigError
from uibe.modules.preprocessing import IMAGENET, Preprocessing, override, with_metadata

PLAIN = Preprocessing(size=(4, 6), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def noise(height: int, width: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_values_are_scaled_then_standardized() -> None:
    image = Image.new("RGB", (6, 4), (255, 0, 51))
    found = Preprocessing((4, 6), (0.5, 0.5, 0.5), (0.5, 0.25, 0.1))(image)
    assert found.dtype == torch.float32
    assert found.shape == (3, 4, 6)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([1.0, -2.0, -3.0]))


def test_input_range_replaces_0_to_1() -> None:
    image = Image.new("RGB", (6, 4), (255, 0, 51))
    found = override(PLAIN, input_range=[-1, 1])(image)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([1.0, -1.0, -0.6]))


@pytest.mark.parametrize("options", [{}, {"mean": [1, 2, 3], "std": [4, 5, 6]}, {"input_range": [-1, 255]}])
def test_a_batch_is_standardized_as_each_image_and_as_in_float64(options: dict[str, list[float]]) -> None:
    preprocessing = override(IMAGENET, image_size=[5, 7], **options)
    images = [noise(9, 5), noise(5, 7)]
    bytes_of = [preprocessing.resize(image) for image in images]
    found = preprocessing.standardize(torch.stack(bytes_of))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.stack([preprocessing(image) for image in images]).equal(found)
    low, high = preprocessing.input_range
    values = np.stack([each.numpy() for each in bytes_of]).astype(np.float64) / 255 * (high - low) + low
    expected = ((values - preprocessing.mean) / preprocessing.std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_whole_image_is_kept() -> None:
    # red on the left edge, green on the right edge: a centre crop would lose both
    image = Image.new("RGB", (600, 100))
    image.paste((255, 0, 0), (0, 0, 100, 100))
    image.paste((0, 255, 0), (500, 0, 600, 100))
    found = PLAIN(image)
    assert found[0, :, 0].min() > 0.8
    assert found[1, :, -1].min() > 0.8


def test_reduction_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = override(PLAIN, image_size=8)(Image.fromarray(stripes))
    assert found.sub(0.5).abs().max() < 0.05


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    assert PLAIN(noise(4, 6).convert(mode)).shape == (3, 4, 6)


@pytest.mark.parametrize("options", [{}, {"mean": [1, 2, 3], "std": [4, 5, 6]}, {"input_range": [0, 255]}])
def test_undo_gives_the_picture_back(options: dict[str, list[float]]) -> None:
    image = noise(224, 224)
    preprocessing = override(IMAGENET, **options)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    torch.testing.assert_close(preprocessing.undo(preprocessing(image)), expected)
    assert preprocessing.undo(torch.full((2, 3, 1, 1), 1e6)).max() == 1


def test_describe_is_json_and_tells_settings_apart() -> None:
    variants = [
        IMAGENET,
        override(IMAGENET, image_size=96),
        override(IMAGENET, image_size=[96, 224]),
        override(IMAGENET, mean=[0, 0, 0]),
        override(IMAGENET, std=[1, 1, 1]),
        override(IMAGENET, input_range=[0, 255]),
    ]
    assert len({json.dumps(variant.describe()) for variant in variants}) == len(variants)
    described = json.dumps(override(IMAGENET, input_range=[0, 1]).describe())
    assert described == json.dumps(IMAGENET.describe())
    assert json.loads(json.dumps(IMAGENET.describe())) == IMAGENET.describe()


@pytest.mark.parametrize("size", ["[3, 96, 64]", "[96, 64]"])
def test_metadata_is_the_default(size: str) -> None:
    found = with_metadata(IMAGENET, {"input_size": size, "mean": "[0, 0.5, 1]", "class_names": "[]"}, "x")
    assert found == Preprocessing((96, 64), (0, 0.5, 1), IMAGENET.std)


@pytest.mark.parametrize(
    "metadata",
    [
        {"mean": "no json"},
        {"std": "[1, 2]"},
        {"mean": '["a", "b", "c"]'},
        {"input_size": "96"},
        {"input_size": '["a", "b"]'},
    ],
)
def test_bad_metadata_names_the_file(metadata: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^weights net\.safetensors: [^\n]*$"):
        with_metadata(IMAGENET, metadata, "net.safetensors")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_size", 0),
        ("image_size", [224]),
        ("image_size", [224, -1]),
        ("mean", [0.5]),
        ("std", [1, 1]),
        ("std", [1, 0, 1]),
        ("input_range", [1, 0]),
        ("input_range", [1]),
    ],
)
def test_bad_option_is_named(option: str, value: int | list[float]) -> None:
    with pytest.raises(ConfigError, match=rf"^{option}: expected [^\n]*$"):
        override(IMAGENET, **{option: value})
