"""Weights from every kind of file, and the one clear line when they cannot be used."""

import json
import re
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

import uibe.assets
from uibe.errors import ConfigError
from uibe.modules.backbone import Backbone
from uibe.modules.networks import load_network
from uibe.modules.weights import Weights, hash_state, load_weights, read_weights

SMALL = "torchvision:squeezenet1_1"  # the lightest file of torchvision's


class Tiny(nn.Sequential):
    def __init__(self, num_classes: int = 5) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten()).append(nn.Linear(4, num_classes))


TINY = f"{__name__}:Tiny"


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return Tiny(num_classes=7).state_dict()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights_of_test" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def hash_of(weights: object) -> str:
    return Backbone(TINY, str(weights), "0", image_size=8).weights_sha256


def save_places365_style(state: dict[str, Tensor], path: Path, **options: bool) -> None:
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(
        {"epoch": 90, "arch": "resnet18", "state_dict": old, "best_prec1": torch.tensor(54.0)},
        path,
        **options,
    )


def test_hash_is_the_same_for_every_format(state: dict[str, Tensor], tmp_path: Path, package: Path) -> None:
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"state_dict": state}, tmp_path / "nested.pt")
    save_places365_style(state, tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "new.safetensors", metadata={"class_names": json.dumps(list("abcdefg"))})
    torch.save({f"_{key}": value for key, value in state.items()}, package / "renamed.pth")
    files = ["bare.pth", "nested.pt", "old.pth.tar", "new.safetensors"]
    found = {hash_of(tmp_path / name) for name in files} | {hash_of("package:weights_of_test")}
    assert found == {hash_state(state)}


@pytest.mark.parametrize("key", ["0.weight", "1.running_mean", "5.bias"])
def test_hash_changes_with_one_value(state: dict[str, Tensor], key: str) -> None:
    before = hash_state(state)
    state[key].flatten()[0] += 1e-3
    assert hash_state(state) != before


def test_hash_tells_names_dtypes_and_shapes_apart() -> None:
    zeros = torch.zeros(4)
    variants = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.view(2, 2)},
        {"a": zeros.int()},
        {"a": torch.tensor(0.0)},
    ]
    variants.append({"a": torch.zeros(4, dtype=torch.bfloat16)})
    assert len({hash_state(variant) for variant in variants}) == len(variants)
    assert hash_state({"a": torch.ones(2, 3).T}) == hash_state({"a": torch.ones(3, 2)})


def test_places365_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(2)
    original = torchvision.models.resnet18(num_classes=365).eval()
    save_places365_style(original.state_dict(), tmp_path / "resnet18_places365.pth.tar")
    backbone = Backbone(
        "torchvision:resnet18", str(tmp_path / "resnet18_places365.pth.tar"), "layer4", image_size=64
    )
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(backbone(images), original(images))
    assert backbone.class_names is None


def test_old_names_of_data_parallel_and_densenet(tmp_path: Path) -> None:
    old = {"features.module.0.weight": torch.zeros(1), "module.denselayer1.norm.2.weight": torch.zeros(1)}
    torch.save(old, tmp_path / "old.pth")
    found = read_weights(str(tmp_path / "old.pth")).tensors
    assert list(found) == ["features.0.weight", "denselayer1.norm2.weight"]


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("backbone", ["torchvision:mobilenet_v3_small", SMALL, "timm:mobilenetv3_small_050"])
def test_number_of_classes_is_read_off_the_weights(backbone: str, suffix: str, tmp_path: Path) -> None:
    library, name = backbone.split(":")
    source = torchvision.models.get_model if library == "torchvision" else timm.create_model
    network, path = source(name, num_classes=12), tmp_path / f"net.{suffix}"
    (torch.save if suffix == "pth" else save_file)(network.state_dict(), path)
    assert load_network(backbone, str(path)).network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 12)


def test_torchvision_file_with_auxiliary_classifier(tmp_path: Path) -> None:
    original = torchvision.models.googlenet(init_weights=False, transform_input=True)
    torch.save(original.state_dict(), tmp_path / "googlenet.pth")
    network = load_network("torchvision:googlenet", str(tmp_path / "googlenet.pth")).network
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network.eval()(images), original.eval()(images))


def test_safetensors_metadata(state: dict[str, Tensor], tmp_path: Path) -> None:
    metadata = {
        "class_names": list("abcdefg"),
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "input_size": [3, 16, 12],
    }
    save_file(state, tmp_path / "t.safetensors", {key: json.dumps(value) for key, value in metadata.items()})
    backbone = Backbone(TINY, str(tmp_path / "t.safetensors"), "0", std=[2, 2, 2])
    assert backbone.class_names == list("abcdefg")
    assert backbone.feature_size == (14, 10)
    assert backbone.preprocessing.mean == (0, 0, 0)
    assert backbone.preprocessing.std == (2, 2, 2)


def test_random_weights_are_the_same_every_time_and_leave_the_global_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = Backbone(TINY, layer="0", image_size=8)
    assert torch.equal(torch.rand(2), expected)
    assert Backbone(TINY, layer="0", image_size=8).weights_sha256 == first.weights_sha256


def test_loading_by_order_only_from_packages(state: dict[str, Tensor], package: Path, tmp_path: Path) -> None:
    renamed = {f"_{key}": value for key, value in state.items()}
    for folder in (tmp_path, package):
        torch.save(renamed, folder / "net.pth")
    assert hash_of("package:weights_of_test") == hash_state(state)
    with pytest.raises(ConfigError, match=r"net\.pth do not fit the backbone: missing: 0\.weight, "):
        hash_of(tmp_path / "net.pth")


def test_no_loading_by_order_if_a_shape_differs(state: dict[str, Tensor], package: Path) -> None:
    renamed = {f"_{key}": value for key, value in state.items()}
    renamed["_0.weight"] = torch.zeros(4, 3, 5, 5)
    torch.save(renamed, package / "net.pth")
    with pytest.raises(ConfigError, match=r"unexpected: _0\.weight, _0\.bias, _1\.weight and \d+ more$"):
        hash_of("package:weights_of_test")


def test_no_loading_by_order_from_safetensors(state: dict[str, Tensor], package: Path) -> None:
    tensors = {f"w{index:02}": value for index, value in enumerate(state.values())}
    save_file(tensors, package / "net.safetensors")
    with pytest.raises(ConfigError, match=r"net\.safetensors do not fit"):
        hash_of("package:weights_of_test")


def test_one_file_of_several_in_a_package(state: dict[str, Tensor], package: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save(state, package / name)
    with pytest.raises(
        ConfigError, match=r"carries 2 files: choose of package:weights_of_test/models/a\.pth, "
    ):
        hash_of("package:weights_of_test")
    assert hash_of("package:weights_of_test/models/b.pth") == hash_state(state)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("package:no_such_package", "no installed package 'no_such_package'"),
        ("package:no_such.package", "no installed package"),
        ("package:", "no installed package"),
        ("package:json", "no weights file"),
        ("package:uibe.assets/none.safetensors", "no such file"),
        ("none.pth", "weights none.pth: no such file"),
        ("DEFAULT", "weights 'DEFAULT': no such file"),
    ],
)
def test_missing_weights(weights: str, message: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^weights [^\n]*{re.escape(message.removeprefix('weights '))}[^\n]*$"
    ):
        hash_of(weights)


def truncate(path: Path, state: dict[str, Tensor]) -> None:
    (save_file if path.suffix == ".safetensors" else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: list[tuple[str, Callable[[Path, dict[str, Tensor]], object], str]] = [
    ("net.pth", truncate, "truncated"),
    ("net.safetensors", truncate, "truncated"),
    ("empty.pth", lambda path, _: path.touch(), "truncated"),
    ("empty.safetensors", lambda path, _: path.touch(), "truncated"),
    ("text.pth", lambda path, _: path.write_text("<html>404</html>"), "damaged"),
    (
        "lfs.safetensors",
        lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    ("whole.pth", lambda path, _: torch.save(Tiny(), path), "holds more than tensors"),
    ("list.pth", lambda path, _: torch.save([torch.zeros(1)], path), "expected a dict of tensors"),
    ("numbers.pth", lambda path, _: torch.save({"state_dict": {"a": 1}}, path), "expected a dict of tensors"),
    ("net.onnx", lambda path, _: path.touch(), "expected a .safetensors"),
    ("folder.pth", lambda path, _: path.mkdir(), "no such file"),
    ("names.safetensors", lambda path, state: save_file(state, path, {"class_names": "a, b"}), "class_names"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES, ids=[name for name, _, _ in DAMAGES])
def test_unusable_file(
    name: str,
    damage: Callable[[Path, dict[str, Tensor]], object],
    message: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    damage(tmp_path / name, state)
    with pytest.raises(
        ConfigError, match=rf"^weights [^\n]*{re.escape(name)}: [^\n]*{re.escape(message)}[^\n]*$"
    ):
        hash_of(tmp_path / name)


def test_misfit_names_the_first_keys(state: dict[str, Tensor]) -> None:
    state["0.weight"] = torch.zeros(4, 1, 3, 3)
    state["extra"] = state.pop("0.bias")
    expected = (
        r"^weights net\.pth do not fit the backbone: missing: 0\.bias; unexpected: extra; "
        r"of another shape: 0\.weight \[4, 1, 3, 3\] instead of \[4, 3, 3, 3\]$"
    )
    with pytest.raises(ConfigError, match=expected):
        load_weights(Tiny(num_classes=7), Weights("net.pth", state))


@pytest.mark.parametrize(
    ("backbone", "weights", "message"),
    [
        (
            "torchvision:resnet18",
            "NOPE",
            r"^weights 'NOPE': .*torchvision:resnet18 knows \(IMAGENET1K_V1, DEFAULT\)$",
        ),
        ("timm:resnet18", "nope", r"^weights 'nope': .*timm:resnet18 knows \(pretrained, .*a1_in1k.*\)$"),
    ],
)
def test_unknown_library_weights(backbone: str, weights: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Backbone(backbone, weights)


@pytest.mark.parametrize(
    ("backbone", "weights"),
    [(SMALL, "DEFAULT"), ("timm:resnet18", "pretrained"), ("timm:resnet18", "a1_in1k")],
)
def test_failed_download(
    backbone: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", refuse)
    with pytest.raises(
        ConfigError,
        match=rf"^weights '{weights}': cannot be downloaded for {backbone} .*no network in tests.*give a ",
    ):
        Backbone(backbone, weights)


def test_library_weights_bring_input_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    downloaded = torchvision.models.squeezenet1_1().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: downloaded)
    loaded = load_network(SMALL, "IMAGENET1K_V1")
    assert hash_state(loaded.network.state_dict()) == hash_state(downloaded)
    assert loaded.preprocessing.size == (224, 224)
    assert loaded.class_names is not None
    assert loaded.class_names[0] == "tench"


def test_the_network_that_comes_with_the_project() -> None:
    if not (Path(uibe.assets.__file__).parent / "small_cnn.safetensors").exists():
        pytest.skip("uibe/assets/small_cnn.safetensors is not built")
    backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
    assert backbone.class_names
    assert backbone(torch.zeros(1, 3, *backbone.preprocessing.size)).shape == (1, len(backbone.class_names))
