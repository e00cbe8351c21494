"""A learned basis beside its peers: the same features, rules for thresholds, and images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from commands.bases import Fitting, named_bases
from commands.data import DataOptions, device_of, fingerprints, groups_document, open_data
from commands.processes import alone
from lightning_modules.checkpoint import hyper_parameters, module_from, read_checkpoint
from uibe.data.features import FeatureStore
from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.functional.groups import Grouping
from uibe.functional.intervals import Counts
from uibe.metrics.binary import READINGS, binary_metrics
from uibe.metrics.comparison import (
    SHARES,
    Basis,
    Comparison,
    Readings,
    averaged,
    gain_by_cause,
    null_cut,
    readings,
)
from uibe.metrics.comparison import compare as compare_bases
from uibe.report.comparison import comparison_markdown, comparison_rows, differences_document
from uibe.report.comparison_figures import (
    categories_figure,
    cut_figure,
    firing_figure,
    histogram_figure,
    save_figure,
)
from uibe.report.files import results_folder, write_csv, write_json, write_text
from uibe.report.markdown import code

__all__ = ["compare"]


def compare(
    ckpt_path: list[str],
    out: str,
    bases: list[str] | None = None,
    data: DataOptions | None = None,
    shares: list[float] | None = None,
    replicates: int = 200,
    random_seeds: int = 5,
    threshold_steps: int = 300,
    supervised_epochs: int = 6,
    seed: int = 0,
    union: Literal["annotated", "netdissect-lite"] = "annotated",
    binary: bool = True,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Compare bases on one layer; write `compare.csv`, `.json`, `.md` and figures, print the tables.

    Every basis is scored with NetDissect's thresholds at several firing rates and with thresholds that UIBE's
    objective learns while the directions are frozen. Fitted peers are kept beside the feature cache.

    Args:
        ckpt_path: checkpoints that train.py wrote, of one layer; the first is compared with all others.
        out: folder for the results.
        bases: of natural, random, pca, ica, nmf, kmeans, sae, supervised, or files `basis.safetensors`.
        data: overrides of the first checkpoint's data.
        shares: of the train pixels that exceed a quantile threshold; 0.002 to 0.2 by default.
        replicates: of the bootstrap over validation images.
        random_seeds: number of random rotations.
        threshold_steps: optimizer steps for thresholds of frozen directions.
        supervised_epochs: of the supervised basis, as long as the data's.
        seed: of the bootstrap and of the peers.
        union: rule for a detector's area.
        binary: whether to add precision, recall, average precision, F1 and IoU on the layer's pixels.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    alone("compare")
    swept = _checked(shares, replicates, random_seeds)
    checkpoints = {path: read_checkpoint(path) for path in ckpt_path}
    first, *others = checkpoints.values()
    _same_layer(first, others)
    where, console = device_of(device), Console(soft_wrap=True)
    with results_folder(out) as folder:
        module = module_from(first, weights).to(where)
        datamodule = open_data(first, data or DataOptions(), module.backbone)
        store = datamodule.features
        names = ["natural", "random"] if bases is None else bases
        fitting = Fitting(
            datamodule, hyper_parameters(first), random_seeds, seed, threshold_steps, supervised_epochs
        )
        found = named_bases(checkpoints, names, fitting, console)
        with console.status("Scoring bases"):
            scored = compare_bases(found, store, swept, replicates, seed, union)
        options: dict[str, Any] = {
            "ckpt_path": ckpt_path,
            "bases": names,
            "shares": swept,
            "replicates": replicates,
            "random_seeds": random_seeds,
            "threshold_steps": threshold_steps,
            "supervised_epochs": supervised_epochs,
            "seed": seed,
            "union": union,
            "backbone": hyper_parameters(first)["backbone"],
            "layer": hyper_parameters(first)["layer"],
            "groups": groups_document(store),
            "fingerprints": {"weights": module.backbone.weights_sha256, **fingerprints(store)},
        }
        rates = _binary(scored, found, store) if binary else []
        console.print(_write(folder, scored, found, rates, options, store.grouping), markup=False)
        console.print(f"written  {folder}", markup=False)


def _checked(shares: Sequence[float] | None, replicates: int, random_seeds: int) -> list[float]:
    if replicates < 1 or random_seeds < 1:
        raise ConfigError("--replicates and --random_seeds: expected at least 1")
    swept = sorted(SHARES if shares is None else shares)
    if not swept or not all(0 < share < 1 for share in swept):
        raise ConfigError(f"--shares: expected shares between 0 and 1, got {swept}")
    return swept


def _same_layer(first: dict[str, Any], others: Sequence[dict[str, Any]]) -> None:
    for other in others:
        same = all(
            hyper_parameters(first)[name] == hyper_parameters(other)[name] for name in ("layer", "image_size")
        )
        if not same or first["uibe"]["weights_sha256"] != other["uibe"]["weights_sha256"]:
            raise MismatchError(
                "--ckpt_path: expected checkpoints of one backbone and layer; compare them apart"
            )


def _binary(scored: Comparison, bases: dict[str, Basis], store: FeatureStore) -> list[dict[str, Any]]:
    """Means of the binary metrics under each reading, at own thresholds; of one random rotation."""
    rows = []
    for name, several in scored.items():
        own = next((each for each in several if each.share is None), None)
        thresholds = bases[name].thresholds
        if own is None or thresholds is None or (name.startswith("random ") and name != "random 0"):
            continue
        detectors = Detectors(bases[name].directions, thresholds)
        for reading in READINGS:
            found = binary_metrics(detectors, own.dissection.labels, store, reading)
            labels = len(found.labels.unique())
            rows.append({"basis": name, "reading": reading, "labels": labels, **found.means()._asdict()})
    return rows


def _write(
    folder: Path,
    scored: Comparison,
    bases: dict[str, Basis],
    rates: list[dict[str, Any]],
    options: dict[str, Any],
    grouping: Grouping | None,
) -> str:
    """All files; the Markdown is returned."""
    reference = next(iter(scored))
    random = [several for name, several in scored.items() if name.startswith("random ")]
    cuts = {each.share: null_cut(random, each.share) for each in random[0]} if random else {}
    read = _grouped(scored)
    learned = any(each.share is None for each in scored[reference])
    causes = gain_by_cause(scored[reference], scored["natural"]) if learned and "natural" in scored else None
    rows = comparison_rows(scored, bases, cuts)
    markdown = _heading(options) + comparison_markdown(
        read, reference, _notes(bases), causes, rates, rows, grouping=grouping
    )
    write_csv(folder / "compare.csv", rows)
    write_json(
        folder / "compare.json",
        {
            "options": options,
            "reference": reference,
            "rows": rows,
            "binary": rates,
            "differences": differences_document(reference, read, _most(scored)),
            "gain_by_cause": {
                name: {score: each._asdict() for score, each in values.items()}
                for name, values in (causes or {}).items()
            },
        },
    )
    write_text(folder / "compare.md", markdown)
    _draw(folder, scored, options["shares"])
    return markdown


def _grouped(scored: Comparison) -> dict[str, Readings]:
    """Readings by basis, those of the random rotations averaged."""
    read = {name: readings(several) for name, several in scored.items()}
    random = [each for name, each in read.items() if name.startswith("random ")]
    grouped = {name: each for name, each in read.items() if not name.startswith("random ")}
    return {**grouped, f"random (mean of {len(random)})": averaged(random)} if random else grouped


def _most(scored: Comparison) -> dict[str, Counts]:
    """The most that counts can be, by basis, the random rotations' under the name of their mean."""
    most = {name: several[0].most for name, several in scored.items()}
    return {name: most[name if name in most else "random 0"] for name in _grouped(scored)}


def _heading(options: dict[str, Any]) -> str:
    return (
        f"# Bases of {code(options['layer'])}, {code(options['backbone'])}\n\n"
        f"{code(options['ckpt_path'][0])}; intervals from {options['replicates']} replicates of the "
        "validation images. Figures: `firing_rate`, `iou_cut_*`, `iou_histogram_*`, `categories_*` beside "
        "this file; of the random rotations they show number 0.\n\n"
    )


def _notes(bases: dict[str, Basis]) -> dict[str, str]:
    return {name: f"{basis.num_pixels:,} pixels" for name, basis in bases.items() if basis.num_pixels}


def _draw(folder: Path, scored: Comparison, shares: Sequence[float]) -> None:
    # of the random rotations one is enough to look at
    shown = {
        name: each for name, each in scored.items() if name == "random 0" or not name.startswith("random ")
    }
    share = min(shares, key=lambda each: abs(each - 0.005))
    save_figure(firing_figure(shown), folder, "firing_rate")
    for name, at in {"quantile": share, "own": None}.items():
        if any(each.share == at for several in shown.values() for each in several):
            save_figure(cut_figure(shown, at), folder, f"iou_cut_{name}")
            save_figure(categories_figure(shown, at), folder, f"categories_{name}")
            save_figure(histogram_figure(shown, at), folder, f"iou_histogram_{name}")
