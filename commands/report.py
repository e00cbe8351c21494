"""A page to look at: scores, curves and every detector with its strongest images."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from commands.data import (
    DataOptions,
    device_of,
    fingerprints,
    groups_document,
    learned_on,
    open_data,
)
from commands.processes import alone
from commands.score import protocol_of
from lightning_modules import BasisModule, SupervisedModule
from lightning_modules.checkpoint import hyper_parameters, module_from, read_checkpoint
from uibe.data.broden import BrodenDataset
from uibe.data.features import FeatureStore
from uibe.errors import ConfigError, DataError, MismatchError, printable
from uibe.functional.detectors import Detectors
from uibe.functional.explanation import class_influence, is_affine
from uibe.library.explaining import coordinates_of
from uibe.metrics.dissection import Dissection, dissect_replicates
from uibe.metrics.protocol import EvaluationProtocol, detector_sets
from uibe.report.card import commands
from uibe.report.distinct import distinct_images
from uibe.report.document import (
    affected_classes,
    category_scores_document,
    comparison_section,
    detectors_document,
    pairs_document,
    scores_document,
)
from uibe.report.drawn import drawn_note
from uibe.report.examples import Examples
from uibe.report.files import results_folder, write_json, write_text
from uibe.report.page import render_page
from uibe.report.pictures import remove_stale_pictures, write_pictures

__all__ = ["report"]


def report(
    ckpt_path: str,
    out: str,
    compare: str | None = None,
    data: DataOptions | None = None,
    thresholds: Literal["learned", "quantile"] | None = None,
    quantile: float | None = None,
    union: Literal["annotated", "netdissect-lite"] | None = None,
    images: int = 6,
    class_images: int | None = None,
    replicates: int = 200,
    seed: int = 0,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Write a page with all detectors: `index.html`, pictures in `detectors/`, its content in `report.json`.

    It needs no server and no network. The evaluation is the one of training, unless options say otherwise.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        out: folder for the page; an earlier report there is replaced, other files are left alone.
        compare: a `compare.json` of the same layer to show beside the scores.
        data: overrides of the checkpoint's data.
        thresholds: policy of the detectors shown; the first of the training's by default.
        quantile: share of train pixels that exceed a quantile threshold.
        union: rule for a detector's area.
        images: strongest validation images of each detector that look different, 1 to 12.
        class_images: validation images over which the change of each class is averaged; 0 leaves the classes
            out. By default one where the head is pooling and a linear layer, for there it is exact, and 0
            elsewhere, for there it differs from image to image. The cost is a backward pass from every class
            to the layer, and grows with the images: seconds for a last layer, a minute or more for an early
            one.
        replicates: of the bootstrap over validation images.
        seed: of the bootstrap.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    alone("report")
    if replicates < 1 or (class_images or 0) < 0 or not 1 <= images <= 12:
        raise ConfigError("--replicates, --class_images, --images: expected >= 1, >= 0 and 1 to 12")
    checkpoint = read_checkpoint(ckpt_path)
    protocol = protocol_of(checkpoint, thresholds, quantile, union)
    compared = None if compare is None else _comparison(Path(compare), checkpoint)
    module = module_from(checkpoint, weights).to(device_of(device))
    console = Console(soft_wrap=True)
    with results_folder(out) as folder:
        store = open_data(checkpoint, data or DataOptions(), module.backbone).features
        with console.status("Scoring detectors"):
            sets = detector_sets(module.basis.detectors(), store, protocol, as_often=True)
            results, iou = dissect_replicates(sets, store, replicates, seed, protocol.union)
        primary = next(iter(results))
        with console.status("Drawing detectors"):
            examples, pictures = _drawn(folder, store, sets[primary], images)
        classes = _classes(module, store, class_images, console)
        document = {
            "about": _about(
                ckpt_path,
                out,
                checkpoint,
                store,
                protocol,
                {"replicates": str(replicates), "seed": str(seed)},
            ),
            "scores": scores_document(results, iou, protocol.quantile, isinstance(module, SupervisedModule)),
            "pairs": pairs_document(results, iou),
            "categories": category_scores_document(results[primary], iou[primary]),
            "comparison": compared,
            "detectors": _detectors(results[primary], iou[primary], store, examples, pictures, classes),
        }
        write_json(folder / "report.json", document)
        write_text(folder / "index.html", render_page(document))
        remove_stale_pictures(folder, pictures)
        console.print(f"written  {folder / 'index.html'}, {len(pictures)} detectors", markup=False)


def _comparison(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        section = comparison_section(document)
        layer = (document["options"]["backbone"], document["options"]["layer"])
        compared_weights = document["options"]["fingerprints"]["weights"]
    except OSError as error:
        raise DataError(
            f"--compare: {path}: cannot be read ({error.strerror}); give a compare.json"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"--compare: {path}: not what `evaluate.py compare` writes; give its compare.json"
        ) from error
    options = hyper_parameters(checkpoint)
    if layer != (options["backbone"], options["layer"]) or (
        compared_weights != checkpoint["uibe"]["weights_sha256"]
    ):
        raise MismatchError(
            f"--compare: {path}: of {' '.join(map(str, layer))}, but the checkpoint is of "
            f"{options['backbone']} {options['layer']} or has other weights; compare that layer"
        )
    return section


def _about(
    ckpt_path: str,
    out: str,
    checkpoint: dict[str, Any],
    store: FeatureStore,
    protocol: EvaluationProtocol,
    bootstrap: dict[str, str],
) -> dict[str, Any]:
    options = hyper_parameters(checkpoint)
    facts = {
        "checkpoint": str(Path(ckpt_path)),
        "epoch": str(checkpoint["epoch"]),
        "backbone": options["backbone"],
        "layer": options["layer"],
        **store.facts(),
        "learned on": learned_on(checkpoint),
        "quantile": f"{protocol.quantile:g}",
        "union": protocol.union,
        **bootstrap,
        **({} if store.group_by is None else {"group_by": printable(store.group_by)}),
        **{
            f"sha256 of {name}": digest
            for name, digest in {
                "weights": checkpoint["uibe"]["weights_sha256"],
                **fingerprints(store),
            }.items()
        },
    }
    return {
        "backbone": options["backbone"],
        "layer": options["layer"],
        "data": facts["data"],
        "quantile": protocol.quantile,
        "train_images": store.num_images("train"),
        "val_images": store.num_images("val"),
        "groups": groups_document(store),
        "drawn": drawn_note(store.grouping, str),
        "facts": facts,
        "commands": commands(ckpt_path, str(Path(out).parent)),
    }


def _drawn(folder: Path, store: FeatureStore, detectors: Detectors, count: int) -> tuple[Examples, list[str]]:
    """The strongest images of each detector, and the paths of their pictures."""
    directions, thresholds = detectors.directions, detectors.thresholds
    images: Callable[[int], Any] = partial(_image, store)
    examples = distinct_images(store.feature_batches("val"), directions, thresholds, count, images)
    return examples, write_pictures(folder, examples, thresholds, images)


def _image(store: FeatureStore, place: int) -> Any:  # noqa: ANN401 - Pillow's, which no command needs to know
    return store.image(store.rows("val")[place])


def _classes(
    module: BasisModule | SupervisedModule, store: FeatureStore, count: int | None, console: Console
) -> list[list[dict[str, Any]]]:
    """Of each direction; none if they are not wanted, or the head cannot be run on features alone."""
    backbone, rows = module.backbone, store.rows("val")
    wanted = min(1 if count is None else count, len(rows))
    chosen = [rows[len(rows) * i // wanted] for i in range(wanted)]
    if not chosen:
        return []
    inputs = torch.stack([backbone.preprocessing(store.image(row)) for row in chosen])
    features = backbone.features(inputs.to(next(backbone.parameters()))).float()
    try:
        num_classes = backbone.head(features[:1]).shape[1]
    except ConfigError as error:
        console.print(f"affected classes are left out: {error}", markup=False)
        return []
    exact = is_affine(backbone.head, features[:1])
    if count is None and not exact:
        console.print(
            "affected classes are left out: they differ from image to image, for the head is not pooling and "
            "a linear layer; --class_images 4 gives their mean over 4 images",
            markup=False,
            highlight=False,
        )
        return []
    mean = f"mean over {len(chosen)} image{'s' if len(chosen) != 1 else ''} (--class_images)"
    said = f"affected classes: {num_classes}, {'exact for every image' if exact else mean}"
    console.print(said, markup=False, highlight=False)
    influence = class_influence(
        backbone.head,
        features,
        coordinates_of(module.basis).to(features.device),
        num_classes,
        partial(track, description=said, console=console, transient=True),
    )
    return affected_classes(influence.cpu(), backbone.class_names)


def _detectors(
    result: Dissection,
    iou: Tensor,
    store: FeatureStore,
    examples: Examples,
    pictures: Sequence[str],
    classes: Sequence[Sequence[dict[str, Any]]],
) -> list[dict[str, Any]]:
    peaks = examples.maps.flatten(2).amax(2).cpu()
    return detectors_document(
        result,
        iou,
        store.concepts.names,
        fires=(peaks > result.thresholds[:, None]).tolist(),
        images=[[_name(store, place) for place in places] for places in examples.positions.tolist()],
        sprites=pictures,
        classes=classes,
    )


def _name(store: FeatureStore, place: int) -> str:
    row = store.rows("val")[place]
    return store.images.index.rows[row].image if isinstance(store.images, BrodenDataset) else str(row)
