"""What speaks for a prediction, concept by concept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from commands.bases import BASES, Fitting, named_bases
from commands.data import DataOptions, device_of
from commands.labelling import labels_for, open_labelled
from commands.processes import alone
from datamodules import FeatureDataModule
from lightning_modules.checkpoint import hyper_parameters, read_checkpoint
from uibe.data.images import read_rgb
from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.functional.explanation import Coordinates, coordinates
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.detector import ConceptDetector
from uibe.library.explaining import explain_features
from uibe.library.explanation import Explanation, sums_by_concept
from uibe.library.labels import Label
from uibe.library.loading import detector_from
from uibe.library.naming import concepts_of
from uibe.peers.store import load_detectors
from uibe.report.comparison_figures import save_figure
from uibe.report.explanation import ClassParts, Part, concepts_line, explanation_table, parts_document
from uibe.report.explanation_figures import explanation_figure, residual_figure
from uibe.report.files import output_folder, write_json

__all__ = ["explain"]


class _Basis(NamedTuple):
    """What explains, and what its directions are called."""

    name: str
    coordinates: Coordinates
    labels: Sequence[Label] | None


def explain(
    ckpt_path: str,
    image: list[str],
    out: str,
    classes: list[str | float] | None = None,
    top: int = 3,
    concepts: int = 3,
    basis: str | None = None,
    data: DataOptions | None = None,
    replicates: int = 200,
    weights: str | None = None,
    device: str = "cpu",
) -> None:
    """Split logits over concepts; write a figure for each image and `explanation.json`, print tables.

    `logit = constant + sum of contributions + residual`. The residual is 0 to rounding for networks that end
    in global pooling and a linear layer. Labels come from the data of the checkpoint, where it is at hand.

    Args:
        ckpt_path: checkpoint that train.py wrote.
        image: files of images.
        out: folder for the results.
        classes: names or numbers of the classes to explain; each image's own highest by default.
        top: how many those are.
        concepts: directions to show for and against each class.
        basis: instead of the checkpoint's own: natural, random, pca, ica, nmf, kmeans, sae, supervised, or a
            file `basis.safetensors`; adds the figure `why_orthonormal`.
        data: overrides of the checkpoint's data.
        replicates: of the bootstrap over validation images, for the labels' intervals.
        weights: where the backbone's weights are now, if not where they were.
        device: where to compute, `cpu` or `cuda`.
    """
    alone("explain")
    if not image or min(top, concepts, replicates) < 1:
        raise ConfigError("--image: expected a file; --top, --concepts and --replicates: at least 1")
    pictures = [read_rgb(Path(file), "--image") for file in image]
    checkpoint = read_checkpoint(ckpt_path)
    detector = detector_from(checkpoint, weights).to(device_of(device))
    features = detector.features(pictures)
    own = explain_features(detector.backbone, detector.coordinates, features, classes, top)
    folder, console = output_folder(out), Console(soft_wrap=True)
    datamodule, reason = open_labelled(checkpoint, data or DataOptions(), detector.backbone)
    if datamodule is None:
        console.print(f"labels   none: {reason}", markup=False)
    used, raw = _chosen(basis, detector, checkpoint, datamodule, console)
    if datamodule is not None:
        with console.status("Labelling directions"):
            used = used._replace(labels=labels_for(raw, datamodule, replicates))
    explained = own
    if basis is not None:
        explained = explain_features(detector.backbone, used.coordinates, features, classes, top)
        save_figure(
            residual_figure(_shares(detector, used, features, own, explained)), folder, "why_orthonormal"
        )
    documents = []
    for name, file, picture, each in zip(_stems(image), image, pictures, explained, strict=True):
        parts = [_parts(each, place, used.labels, concepts) for place in range(len(each.classes))]
        save_figure(
            explanation_figure(picture, parts, f"{Path(file).name}, basis: {used.name}"), folder, name
        )
        sums = [_by_concept(row, used.labels) for row in each.contributions]
        for split, by_concept in zip(parts, sums, strict=True):
            console.print(explanation_table(f"{file}: {split.name}", split))
            if by_concept:
                console.print(concepts_line(by_concept), markup=False, highlight=False)
        rows = [
            parts_document(split, row.tolist(), by_concept)
            for split, row, by_concept in zip(parts, each.contributions, sums, strict=True)
        ]
        documents.append({"image": file, "figure": f"{name}.png", "classes": rows})
    write_json(folder / "explanation.json", {**_about(ckpt_path, checkpoint, used), "images": documents})
    console.print(f"written  {folder}", markup=False)


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
    detector: ConceptDetector,
    used: _Basis,
    features: torch.Tensor,
    own: Sequence[Explanation],
    explained: Sequence[Explanation],
) -> dict[str, list[float]]:
    """`|residual| / |logit|` of the same images and classes under several bases."""
    mean = detector.coordinates.mean
    unit = torch.nn.functional.normalize(used.coordinates.directions, dim=1)
    others = {
        "natural": coordinates(torch.eye(len(mean), device=mean.device), mean),
        f"{used.name}, each direction by itself": Coordinates(unit, unit.T, mean),
    }
    found = {"learned": list(own), f"{used.name}, all together": list(explained)}
    for name, basis in others.items():
        found[name] = [
            each
            for row, reference in zip(features, own, strict=True)
            for each in explain_features(detector.backbone, basis, row[None], reference.classes)
        ]
    order = ["learned", "natural", *(name for name in found if name not in ("learned", "natural"))]
    return {
        name: torch.cat([(each.residual / each.logits).abs() for each in found[name]]).tolist()
        for name in order
    }


def _parts(explanation: Explanation, place: int, labels: Sequence[Label] | None, concepts: int) -> ClassParts:
    """The strongest directions of a class, the others summed."""
    values = explanation.contributions[place]
    ends = [explanation.strongest(place, concepts, negative) for negative in (False, True)]
    positive, negative = (
        [
            Part(number, _name(labels, number), _detail(labels, number), float(values[number]), heat)
            for number, heat in zip(found, explanation.heat_maps(place, found), strict=True)
        ]
        for found in ends
    )
    others = values.clone()
    others[[number for found in ends for number in found]] = 0
    return ClassParts(
        number=explanation.classes[place],
        name=explanation.names[place],
        logit=float(explanation.logits[place]),
        constant=float(explanation.constant[place]),
        positive=positive,
        negative=negative,
        others_for=(float(others[others > 0].sum()), int((others > 0).sum())),
        others_against=(float(others[others < 0].sum()), int((others < 0).sum())),
        residual=float(explanation.residual[place]),
    )


def _name(labels: Sequence[Label] | None, number: int) -> str:
    """The number, as several directions may share a label; a label that hardly overlaps is none."""
    if labels is None:
        return f"direction {number}"
    return f"{number} {labels[number]}" if labels[number].iou > INTERPRETABLE_IOU else f"{number} unclear"


def _detail(labels: Sequence[Label] | None, number: int) -> str:
    if labels is None:
        return ""
    label = labels[number]
    return f"IoU {label.iou:.2f} [{label.low:.2f}, {label.high:.2f}]"


def _by_concept(contributions: torch.Tensor, labels: Sequence[Label] | None) -> dict[str, float]:
    """Sums over the directions of each label, the largest first; those of no clear concept together."""
    if labels is None:
        return {}
    found = sums_by_concept(contributions, concepts_of(labels, (), len(labels)))
    return {each.name: each.contribution for each in found}


def _stems(files: Sequence[str]) -> list[str]:
    """Names of the figures: files' own, numbered where two are alike."""
    found: list[str] = []
    for file in files:
        stem, number = Path(file).stem, 1
        name = stem
        while name in (*found, "why_orthonormal"):
            number += 1
            name = f"{stem}_{number}"
        found.append(name)
    return found


def _about(ckpt_path: str, checkpoint: dict[str, Any], used: _Basis) -> dict[str, Any]:
    options = hyper_parameters(checkpoint)
    labels = used.labels or ()
    return {
        "ckpt_path": ckpt_path,
        "backbone": options["backbone"],
        "layer": options["layer"],
        "basis": used.name,
        "directions": [{"direction": number, **label._asdict()} for number, label in enumerate(labels)],
    }
