"""Labels and scores of a checkpoint's detectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from commands.data import DataOptions, fingerprints, groups_document, open_data
from commands.processes import together
from lightning_modules import SupervisedModule
from lightning_modules.checkpoint import module_from, read_checkpoint
from uibe.errors import ConfigError
from uibe.functional.processes import rank
from uibe.metrics.dissection import Dissection
from uibe.metrics.protocol import EvaluationProtocol, curves, describe, evaluate
from uibe.report.files import detector_rows, results_folder, write_csv, write_json
from uibe.report.tables import score_table

__all__ = ["protocol_of", "score"]


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

    Without options the evaluation is the one of training, and so are its digits; added is the natural basis
    firing as often as the learned one at its own thresholds, to compare those with.
    `torchrun --nproc_per_node 3 evaluate.py score ...` divides the images among three processes, with the
    same digits.

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
    protocol = protocol_of(checkpoint, thresholds, quantile, union)
    with results_folder(out) as folder, together(device) as where:
        module = module_from(checkpoint, weights).to(where)
        store = open_data(checkpoint, data or DataOptions(), module.backbone).features
        results = evaluate(module.basis.detectors(), store.share(), protocol, as_often=True)
        if rank() == 0:
            about = {
                "epoch": checkpoint["epoch"],
                "backbone": module.hparams.backbone,
                "layer": module.hparams.layer,
                "groups": groups_document(store),
                "fingerprints": {"weights": module.backbone.weights_sha256, **fingerprints(store)},
            }
            _write(folder, results, protocol, store.concepts.names, about)
            _print(folder, results, protocol, isinstance(module, SupervisedModule))


def _write(
    folder: Path,
    results: dict[str, Dissection],
    protocol: EvaluationProtocol,
    concepts: Sequence[str],
    about: dict[str, Any],
) -> None:
    primary, *others = results
    metrics = {
        **describe(results[primary]),
        "thresholds": primary,
        "quantile": protocol.quantile,
        "union": protocol.union,
        **about,
        "curves": curves(results[primary]),
        "others": {name: describe(results[name]) for name in others},
    }
    write_csv(folder / "detectors.csv", detector_rows(results[primary], concepts))
    write_json(folder / "metrics.json", metrics)


def _print(
    folder: Path, results: dict[str, Dissection], protocol: EvaluationProtocol, supervised: bool
) -> None:
    console = Console(soft_wrap=True)
    scores = {name: describe(result) for name, result in results.items()}
    console.print(score_table(scores, protocol.quantile, supervised))
    console.print(f"written  {folder / 'metrics.json'}, {folder / 'detectors.csv'}", markup=False)


def protocol_of(
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
