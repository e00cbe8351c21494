"""Every shipped YAML runs, on data made small."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from tests.data.builders import write_broden
from tests.running import Bench, Run, finished, quick, run_evaluate, run_train
from uibe.data.convert import convert

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
MINI = ROOT.parent / "shared" / "broden-mini"


def places365(path: Path) -> Path:
    """A ResNet18 as Places365 publishes it: 365 classes, DataParallel's prefix, under `state_dict`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.resnet18(num_classes=365)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"epoch": 90, "arch": "resnet18", "state_dict": old, "best_prec1": 54.2}, path)
    return path


def _synthetic(bench: Bench, folder: Path) -> list[str]:
    sizes = ["--data.num_train", "24", "--data.num_val", "12", "--data.render_size", "48"]
    return [*sizes, "--data.mask_size", "24", "--data.root", str(bench.root), *quick(folder)]


def _streaming(bench: Bench, folder: Path) -> list[str]:
    return ["--data.root", str(convert(bench.root, folder / "shards")), *quick(folder)]


def _efficientnet(bench: Bench, folder: Path) -> list[str]:
    return ["--data.root", str(write_broden(folder / "broden")), *quick(folder, "64")]


def _places(bench: Bench, folder: Path) -> list[str]:
    weights = ["--model.weights", str(places365(folder / "resnet18_places365.pth.tar"))]
    return ["--data.root", str(write_broden(folder / "broden")), *weights, *quick(folder, "64")]


def _imagenet(bench: Bench, folder: Path) -> list[str]:
    # random weights in the checkpoint's place; Inception takes no smaller images
    return [
        "--data.root",
        str(write_broden(folder / "broden")),
        "--model.weights",
        "null",
        *quick(folder, "96"),
    ]


def _imagenet_normalized(bench: Bench, folder: Path) -> list[str]:
    # with the statistics of a fresh network, nothing would be left of the signal after so many layers
    network = torchvision.models.efficientnet_b0()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for _ in range(20):
            network(torch.randn(4, 3, 96, 96))
    torch.save(network.state_dict(), folder / "efficientnet_b0.pth")
    return [*_imagenet(bench, folder), "--model.weights", str(folder / "efficientnet_b0.pth")]


def _folder(bench: Bench, folder: Path) -> list[str]:
    images = folder / "images" / "deeper"
    images.mkdir(parents=True)
    for shade in range(3):
        Image.new("RGB", (20, 30), (80 * shade, 10, 200 - shade)).save(images / f"{shade}.png")
    return ["--data.root", str(images.parent), *quick(folder, "64")]


def _supervised(bench: Bench, folder: Path) -> list[str]:
    return [*_efficientnet(bench, folder), "--model.min_frequency", "1"]


# by name of the YAML: what makes it small; how many detectors it then has: D of its layer, or of supervised
# ones the concepts that some train pixel carries and another of an annotated image does not
SMALL: dict[str, tuple[Callable[[Bench, Path], list[str]], int]] = {
    "synthetic": (_synthetic, 64),
    "efficientnet_lite0_broden": (_efficientnet, 320),
    "efficientnet_lite0_bn2_broden": (_efficientnet, 1280),
    "resnet18_places365_broden": (_places, 512),
    "synthetic_streaming": (_streaming, 64),
    "synthetic_supervised": (_synthetic, 15),
    "efficientnet_lite0_supervised_broden": (_supervised, 2),
    "resnet18_imagenet_broden": (_imagenet, 512),
    "vgg16_imagenet_broden": (_imagenet, 512),
    "efficientnet_b0_imagenet_broden": (_imagenet_normalized, 1280),
    "inception_v3_imagenet_broden": (_imagenet, 2048),
    "image_folder": (_folder, 320),
}


def names() -> list[str]:
    """Names of the shipped YAML files."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def test_every_config_is_known_here() -> None:
    assert set(names()) == set(SMALL)


@pytest.mark.parametrize("name", names())
@pytest.mark.filterwarnings("ignore:the data has no labels")  # said of image_folder, tested elsewhere
def test_config_runs(name: str, bench: Bench, trained: Run, tmp_path: Path) -> None:
    make, features = SMALL[name]
    options = ["--data.cache_dir", str(tmp_path / "cache"), "--trainer.max_epochs", "1"]
    outcome = run_train("fit", "--config", CONFIGS / f"{name}.yaml", *make(bench, tmp_path), *options)
    run = finished(outcome, tmp_path)
    assert run.state["basis.thresholds"].shape == (features,)
    assert bool(run.dissection["history"]) == (name != "image_folder")
    exported = run_evaluate("export", "--ckpt_path", run.path, "--out", tmp_path / "export")
    assert exported.code == 0, exported.err


def test_synthetic_config_is_the_default_run(bench: Bench, trained: Run, tmp_path: Path) -> None:
    outcome = run_train("fit", "--config", CONFIGS / "synthetic.yaml", *_synthetic(bench, tmp_path))
    run = finished(outcome, tmp_path)
    for name, value in trained.state.items():
        assert torch.equal(run.state[name], value), name


def test_published_options_reach_the_module(bench: Bench, tmp_path: Path) -> None:
    config = CONFIGS / "resnet18_places365_broden.yaml"
    options = ["--data.cache_dir", str(tmp_path / "cache"), "--trainer.max_epochs", "1"]
    outcome = run_train("fit", "--config", config, *_places(bench, tmp_path), *options)
    found = finished(outcome, tmp_path).checkpoint["hyper_parameters"]
    published = {"sparsity_weight": 2.6, "maximum_activation_weight": 2.8, "maximum_margin_weight": 0.6}
    published |= {"inactive_classifier_weight": 5.0, "tau": 0.9, "margin": 1.0, "lr": 1e-3}
    assert {name: found[name] for name in published} == published
    assert found["max_angle"] is None
    assert found["rebase_every"] == 0


@pytest.mark.skipif(not MINI.is_dir(), reason=f"needs the photographs in {MINI}")
def test_natural_basis_of_real_photographs(tmp_path: Path) -> None:
    config = CONFIGS / "efficientnet_lite0_broden.yaml"
    sizes = ["--model.image_size", "224", "--data.pixels_per_batch", "4096", "--data.passes_per_epoch", "1"]
    place = ["--data.root", MINI, "--data.cache_dir", tmp_path / "cache", "--trainer.max_epochs", "1"]
    outcome = run_train("fit", "--config", config, *quick(tmp_path), *sizes, *place)
    (entry,) = finished(outcome, tmp_path).dissection["history"]
    assert entry["natural"]["S1"] == pytest.approx(6.69, abs=0.02)
    assert entry["natural"]["S2"] == pytest.approx(1.33, abs=0.02)
