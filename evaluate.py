"""Evaluate a checkpoint: `python evaluate.py score --ckpt_path CKPT --out DIR`.

An error is one line; `--debug` shows its traceback.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from rich.console import Console

from datamodules import BrodenDataModule, FeatureDataModule, ImageFolderDataModule, SyntheticDataModule
from lightning_modules.checkpoint import basis_from, hyper_parameters, module_from, read_checkpoint
from uibe.data.broden import BrodenDataset, image_fingerprint, label_fingerprint
from uibe.data.features import FeatureStore
from uibe.errors import ConfigError, one_line_errors
from uibe.metrics.protocol import EvaluationProtocol, curves, describe, evaluate
from uibe.report.files import detector_rows, output_folder, write_csv, write_json
from uibe.report.tables import score_table

DATA_MODULES = {cls.__name__: cls for cls in (BrodenDataModule, ImageFolderDataModule, SyntheticDataModule)}

BRODEN_OPTIONS = {*signature(FeatureDataModule).parameters, *signature(BrodenDataModule).parameters}


@dataclass
class DataOptions:
    """Where the data is, if not where it was in training.

    Args:
        root: folder in Broden's format to score on, whatever the basis was learned on.
        cache_dir: folder of the feature caches.
        batch_size: images a batch.
        num_workers: processes that read images and labels.
    """

    root: str | None = None
    cache_dir: str | None = None
    batch_size: int | None = None
    num_workers: int | None = None


def score(
    ckpt_path: str,
    out: str,
    data: DataOptions | None = None,
    thresholds: Literal["learned", "quantile"] | None = None,
    quantile: float | None = None,
    union: Literal["annotated", "netdissect-lite"] | None = None,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Label and score the detectors; write `metrics.json` and `detectors.csv`, print a table.

    Without options the evaluation is the one of training, and so are its digits.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        out: folder for the results.
        data: overrides of the checkpoint's data.
        thresholds: policy of the results; the first of the training's by default.
        quantile: share of train pixels that exceed a quantile threshold.
        union: rule for a detector's area.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    checkpoint = read_checkpoint(ckpt_path)
    protocol = _protocol(checkpoint, thresholds, quantile, union)
    where = _device(device)
    folder = output_folder(out)
    module = module_from(checkpoint, weights).to(where)
    store = _open(checkpoint, data or DataOptions(), module.backbone)
    results = evaluate(module.basis.detectors(), store, protocol)
    primary, *others = results
    metrics = {
        **describe(results[primary]),
        "thresholds": primary,
        "quantile": protocol.quantile,
        "union": protocol.union,
        "epoch": checkpoint["epoch"],
        "backbone": module.hparams.backbone,
        "layer": module.hparams.layer,
        "fingerprints": {"weights": module.backbone.weights_sha256, **_fingerprints(store)},
        "curves": curves(results[primary]),
        "others": {name: describe(results[name]) for name in others},
    }
    write_csv(folder / "detectors.csv", detector_rows(results[primary], store.concepts.names))
    write_json(folder / "metrics.json", metrics)
    console = Console(soft_wrap=True)
    console.print(score_table({name: describe(result) for name, result in results.items()}))
    console.print(f"written  {folder / 'metrics.json'}, {folder / 'detectors.csv'}")


def export(ckpt_path: str, out: str) -> None:
    """Write `basis.safetensors`: directions and thresholds in raw feature space, for other programs.

    Detector i fires at a pixel x of the layer where `directions[i] . x > thresholds[i]`.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        out: folder for the file.
    """
    checkpoint = read_checkpoint(ckpt_path)
    options = hyper_parameters(checkpoint)
    path = output_folder(out) / "basis.safetensors"
    metadata = {name: str(options[name]) for name in ("backbone", "weights", "layer")}
    basis_from(checkpoint).save(path, {**metadata, "weights_sha256": checkpoint["uibe"]["weights_sha256"]})
    Console(soft_wrap=True).print(f"written  {path}")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; `--debug` shows the traceback of an error.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    given = sys.argv[1:] if args is None else list(args)
    with one_line_errors(debug="--debug" in given):
        auto_cli(
            [score, export],
            args=[arg for arg in given if arg != "--debug"],
            as_positional=False,
            description=__doc__,
            prog="evaluate.py",
        )


def _protocol(
    checkpoint: dict[str, Any], thresholds: str | None, quantile: float | None, union: str | None
) -> EvaluationProtocol:
    """The protocol of training, with overrides; the chosen policy comes first."""
    recorded = checkpoint["callbacks"].get("DissectionCallback", {}).get("protocol", {})
    protocol = EvaluationProtocol(**{**recorded, "policies": tuple(recorded.get("policies", ("learned",)))})
    chosen = (thresholds,) if thresholds else ()
    rest = tuple(policy for policy in protocol.policies if policy not in chosen)
    given = {"policies": chosen + rest, "quantile": quantile, "union": union}
    try:
        return protocol._replace(**{key: value for key, value in given.items() if value is not None}).check()
    except ValueError as error:
        raise ConfigError(f"--{error}") from error


def _device(name: str) -> torch.device:
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device: {name!r} cannot be used here ({reason}); try cpu") from error


def _open(checkpoint: dict[str, Any], overrides: DataOptions, backbone: Any) -> FeatureStore:  # noqa: ANN401
    """The labelled features of the checkpoint's data module."""
    options = hyper_parameters(checkpoint, "datamodule_hyper_parameters")
    options.update({name: value for name, value in asdict(overrides).items() if value is not None})
    name = checkpoint["uibe"]["datamodule"]
    if overrides.root is not None:  # may hold any data in Broden's format, as rendered sets are too
        name = "BrodenDataModule"
        options = {key: value for key, value in options.items() if key in BRODEN_OPTIONS}
    elif name == "ImageFolderDataModule":
        raise ConfigError("data.root: learned on images without labels; give a folder in Broden's format")
    if name not in DATA_MODULES:
        raise ConfigError(f"checkpoint: data module {name!r} is not one of {', '.join(DATA_MODULES)}")
    datamodule: FeatureDataModule = DATA_MODULES[name](**options)
    datamodule.prepare_data()
    return datamodule.open(backbone)


def _fingerprints(store: FeatureStore) -> dict[str, str]:
    images = store.images
    if not isinstance(images, BrodenDataset):
        return {}
    return {"images": image_fingerprint(images.index), "labels": label_fingerprint(images.index)}


if __name__ == "__main__":
    main()
