"""What speaks for a prediction, concept by concept."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from rich.console import Console
from rich.progress import track

from commands.bases import BASES, Fitting, named_bases
from commands.data import DataOptions, device_of, groups_document
from commands.labelling import Labelled, labels_for, open_labelled
from commands.processes import alone
from commands.splitting import concept_sums, parts_by_concept, parts_by_direction
from datamodules import FeatureDataModule
from lightning_modules.checkpoint import hyper_parameters, read_checkpoint
from uibe.data.images import read_images
from uibe.errors import ConfigError, DataError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.functional.explanation import Coordinates, coordinates
from uibe.library.detector import ConceptDetector
from uibe.library.explaining import class_numbers, explain_features
from uibe.library.explanation import Explanation
from uibe.library.loading import detector_from
from uibe.modules.backbone import Backbone
from uibe.peers.store import load_detectors
from uibe.report.comparison_figures import save_figure
from uibe.report.drawn import drawn_note
from uibe.report.explanation import (
    ClassParts,
    concepts_line,
    explanation_table,
    names_note,
    parts_document,
)
from uibe.report.explanation_figures import CLASSES, page_name, residual_figure, save_explanation
from uibe.report.explanation_residual import EXACT
from uibe.report.files import results_folder, write_json

__all__ = ["explain"]

_NO_FIGURE = (
    "why_orthonormal is left out: the checkpoint's own basis leaves more than rounding at {layer}, so that "
    "the figure would compare nothing"
)


_OWN = "learned basis"


class _Basis(NamedTuple):
    """What explains, and what its directions are called."""

    name: str
    coordinates: Coordinates
    labelled: Labelled | None


def explain(
    ckpt_path: str,
    image: list[str],
    out: str,
    classes: list[str | float] | None = None,
    top: int = 3,
    concepts: int = 3,
    by: Literal["concept", "direction"] = "concept",
    basis: str | None = None,
    data: DataOptions | None = None,
    replicates: int = 200,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Split logits over concepts; write a figure for each image and `explanation.json`, print tables.

    `logit = constant + sum of contributions + residual`. The residual is 0 to rounding for networks that end
    in global pooling and a linear layer. Labels come from the data of the checkpoint, where it is at hand.
    Images that cannot be read are named in the end; the others are explained.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        image: files of images.
        out: folder for the results.
        classes: names or numbers of the classes to explain; each image's own highest by default.
        top: how many those are.
        concepts: concepts, or directions, to show for and against each class.
        by: `concept` sums the directions of each label; `direction` shows them one by one.
        basis: instead of the checkpoint's own: natural, random, pca, ica, nmf, kmeans, sae, supervised, or a
            file `basis.safetensors`; adds the figure `why_orthonormal` where the learned basis is exact.
        data: overrides of the checkpoint's data.
        replicates: of the bootstrap over validation images, for the labels' intervals.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    alone("explain")
    if not image or min(top, concepts, replicates) < 1:
        raise ConfigError("--image: expected a file; --top, --concepts and --replicates: at least 1")
    failed: dict[str, DataError] = {}
    pictures = read_images(image, "--image", failed)
    first = next(pictures)
    checkpoint = read_checkpoint(ckpt_path)
    detector = detector_from(checkpoint, weights).to(device_of(device))
    _check_classes(detector.backbone, classes)
    detector.explain(first[1], classes, top)  # what only the head knows, before labels take their time
    console = Console(soft_wrap=True)
    with results_folder(out) as folder:
        datamodule, reason = open_labelled(checkpoint, data or DataOptions(), detector.backbone)
        if datamodule is None:
            console.print(f"labels   none: {reason}; directions are shown one by one", markup=False)
        used, raw = _chosen(basis, detector, checkpoint, datamodule, console)
        if datamodule is not None:
            with console.status("Labelling directions"):
                used = used._replace(labelled=labels_for(raw, datamodule, replicates))
        note, drawn = _notes(datamodule)
        names = _stems(list(dict.fromkeys(image)), -(-len(classes or range(top)) // CLASSES))
        documents: list[dict[str, Any]] = []
        left: dict[str, list[float]] = defaultdict(list)
        bar: dict[str, Any] = {"console": console, "transient": True, "disable": not console.is_terminal}
        for file, picture in track(chain([first], pictures), "Explaining", len(names), **bar):
            features = detector.features(picture)
            (own,) = explain_features(detector.backbone, detector.coordinates, features, classes, top)
            each = own
            if basis is not None:
                (each,) = explain_features(detector.backbone, used.coordinates, features, own.classes)
                for name, shares in _shares(detector, used, features, own, each).items():
                    left[name] += shares
            parts, rows = _split(file, each, used.labelled, (concepts, by), console)
            title = f"{Path(file).name}, basis: {used.name}"
            figures = save_explanation(picture, parts, title, folder, names[file], note)
            documents.append(_image_document(file, figures, each, rows))
        if left and median(left[_OWN]) < EXACT:
            save_figure(residual_figure(left), folder, "why_orthonormal")
        elif left:
            console.print(_NO_FIGURE.format(layer=detector.backbone.layer), markup=False)
        about = {**_about(ckpt_path, checkpoint, used, datamodule), "names": note, "drawn": drawn}
        _finish(folder, {**about, "images": documents}, failed, console)


def _image_document(
    file: str, figures: list[str], each: Explanation, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """All numbers of an image."""
    levels = each.levels.tolist()
    return {"image": file, "figure": figures[0], "figures": figures, "levels": levels, "classes": rows}


def _finish(folder: Path, content: dict[str, Any], failed: dict[str, DataError], console: Console) -> None:
    """Write all numbers, and which images could not be read; say how far names hold.

    Raises:
        DataError: if there are images that could not be read.
    """
    unread = [{"image": file, "reason": str(error)} for file, error in failed.items()]
    write_json(folder / "explanation.json", {**content, "failed": unread})
    if content["names"]:
        console.print(f"{content['names']} {content['drawn']}", markup=False, highlight=False)
    console.print(f"written  {folder}", markup=False)
    if failed:
        reasons, done = "; ".join(map(str, failed.values())), len(content["images"])
        raise DataError(
            f"{reasons}; the other {done} of {done + len(failed)} images are explained in {folder}"
        )


def _check_classes(backbone: Backbone, classes: Sequence[str | float] | None) -> None:
    """Refuse what cannot be a class before anything is computed; numbers wait where only the head knows."""
    if backbone.class_names is not None:
        class_numbers(backbone, classes or [], len(backbone.class_names))
    else:
        names = [each for each in classes or [] if isinstance(each, str) and not each.isdigit()]
        class_numbers(backbone, names, 0)


def _split(
    file: str, each: Explanation, labelled: Labelled | None, shown: tuple[int, str], console: Console
) -> tuple[list[ClassParts], list[dict[str, Any]]]:
    """Print an image's tables; the parts to draw, and all numbers."""
    count, by = shown
    labels = labelled.labels if labelled else None
    places = range(len(each.classes))
    directions = [parts_by_direction(each, place, labels, count) for place in places]
    concepts = [parts_by_concept(each, place, labelled, count) if labelled else None for place in places]
    pairs = zip(concepts, directions, strict=True)
    parts = [single if concept is None or by == "direction" else concept for concept, single in pairs]
    rows = []
    for place in places:
        found = concept_sums(each, place, labels)
        sums = {one.name: one.contribution for one in found}
        console.print(explanation_table(f"{file}: {parts[place].name}", parts[place]))
        if sums and by == "direction":
            console.print(concepts_line(sums), markup=False, highlight=False)
        sides = {one.name: {"above": one.above, "below": one.below} for one in found}
        numbers = each.contributions[place].tolist()
        rows.append(parts_document(directions[place], concepts[place], numbers, sums, sides))
    return parts, rows


def _chosen(
    basis: str | None,
    detector: ConceptDetector,
    checkpoint: dict[str, Any],
    datamodule: FeatureDataModule | None,
    console: Console,
) -> tuple[_Basis, Detectors]:
    """The basis to explain with, and its detectors in raw feature space."""
    if basis is None:
        return _Basis("learned", detector.coordinates, None), detector.detectors
    if basis.endswith(".safetensors"):
        found = Detectors(*load_detectors(Path(basis)))
        if found.directions.shape[1] != detector.backbone.num_features:
            raise MismatchError(
                f"{basis}: directions of {found.directions.shape[1]} channels; the layer has "
                f"{detector.backbone.num_features}: give a basis of this layer"
            )
    elif basis not in BASES:
        raise ConfigError(f"--basis: expected {', '.join(BASES)} or a file basis.safetensors, got {basis!r}")
    elif datamodule is None:
        raise ConfigError(f"--basis {basis}: is fitted on the checkpoint's data; give --data.root")
    else:
        fitting = Fitting(datamodule, hyper_parameters(checkpoint), 1, 0, 300, 6)
        peer = next(iter(named_bases({}, [basis], fitting, console).values()))
        found = Detectors(peer.directions, peer.thresholds)  # type: ignore[arg-type] # peers have thresholds
    found = Detectors(*(tensor.to(detector.device) for tensor in found))
    return _Basis(Path(basis).stem, coordinates(found.directions, detector.coordinates.mean), None), found


def _shares(
    detector: ConceptDetector, used: _Basis, features: torch.Tensor, own: Explanation, explained: Explanation
) -> dict[str, list[float]]:
    """`|residual| / |logit|` of an image's classes under several bases."""
    mean = detector.coordinates.mean
    found = {_OWN: _missing(own)}

    def missed_by(basis: Coordinates) -> list[float]:
        return _missing(explain_features(detector.backbone, basis, features, own.classes)[0])

    natural = coordinates(torch.eye(len(mean), device=mean.device), mean)
    found["single channels (natural)"] = missed_by(natural)
    if used.name != "natural":
        unit = torch.nn.functional.normalize(used.coordinates.directions, dim=1)
        found[f"{used.name}, directions solved for together"] = _missing(explained)
        found[f"{used.name}, each direction by itself"] = missed_by(Coordinates(unit, unit.T, mean))
    return found


def _missing(each: Explanation) -> list[float]:
    shares: list[float] = (each.residual / each.logits).abs().tolist()
    return shares


def _stems(files: Sequence[str], pages: int = 1) -> dict[str, str]:
    """Names of the figures by file: files' own, numbered where two are alike or a page has the name."""
    taken, found = {"why_orthonormal"}, {}
    for file in files:
        stem, number = Path(file).stem, 1
        name = stem
        while not taken.isdisjoint(_folded(name, pages)):
            number += 1
            name = f"{stem}_{number}"
        taken.update(_folded(name, pages))
        found[file] = name
    return found


def _folded(name: str, pages: int) -> list[str]:
    """A figure's pages as file systems see them that take upper for lower case."""
    return [page_name(name, number).casefold() for number in range(1, pages + 1)]


def _notes(datamodule: FeatureDataModule | None) -> tuple[str, str]:
    """Where names come from, and how images are drawn for their intervals; empty without labels."""
    if datamodule is None:
        return "", ""
    store = datamodule.features
    return names_note(store.facts()["data"], store.concepts.categories), drawn_note(store.grouping, str)


def _about(
    ckpt_path: str, checkpoint: dict[str, Any], used: _Basis, datamodule: FeatureDataModule | None
) -> dict[str, Any]:
    options = hyper_parameters(checkpoint)
    labels = used.labelled.labels if used.labelled else ()
    return {
        "ckpt_path": ckpt_path,
        "backbone": options["backbone"],
        "layer": options["layer"],
        "basis": used.name,
        "groups": None if datamodule is None else groups_document(datamodule.features),
        "directions": [{"direction": number, **label._asdict()} for number, label in enumerate(labels)],
    }
