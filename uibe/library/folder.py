"""A folder that holds all that concept detectors are, less the network's weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from uibe.errors import ConfigError, MismatchError, printable
from uibe.functional.groups import Grouping
from uibe.library.card import model_card
from uibe.library.checkpoint import SIZES, check_options, is_digest
from uibe.library.labels import Label
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors
from uibe.report.drawn import read_grouping
from uibe.report.files import output_folder, write_json, write_text

__all__ = ["Folder", "read_folder", "write_folder"]

_FORMAT = 1
_OPTIONS = ("backbone", "weights", "layer", *SIZES)


class Folder(NamedTuple):
    """What a folder holds.

    Attributes:
        options: arguments of the backbone.
        weights_sha256: of the backbone's weights.
        basis: directions and thresholds.
        labels: of the detectors, if known.
        grouping: how images were drawn for the labels' intervals, None for each by itself.
    """

    options: dict[str, Any]
    weights_sha256: str
    basis: InterpretableBasis | LinearDetectors
    labels: tuple[Label, ...] | None
    grouping: Grouping | None = None


def write_folder(
    folder: Path,
    backbone: Backbone,
    basis: InterpretableBasis | LinearDetectors,
    labels: Sequence[Label] | None,
    about: Mapping[str, str] | None = None,
    made: Sequence[str] = (),
    grouping: Grouping | None = None,
) -> Path:
    """Write `basis.safetensors`, `config.json`, the model card `README.md`, and `detectors.json` if labelled.

    Args:
        folder: there or not.
        backbone: the network.
        basis: of its layer.
        labels: of the detectors, if known.
        about: what is known of the data, for the card.
        made: commands that made the folder, for the card.
        grouping: how images were drawn for the labels' intervals, for the card and `detectors.json`.

    Raises:
        DataError: if it cannot be written.
    """
    folder = output_folder(folder)
    preprocessing = backbone.preprocessing
    sizes = {
        "image_size": list(preprocessing.size),
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "input_range": list(preprocessing.input_range),
    }
    named = {"backbone": backbone.backbone, "weights": backbone.weights, "layer": backbone.layer}
    sha256 = backbone.weights_sha256
    basis.save(
        folder / "basis.safetensors", {**{k: str(v) for k, v in named.items()}, "weights_sha256": sha256}
    )
    config = {
        "format": _FORMAT,
        "library_name": "uibe",
        "basis": type(basis).__name__,
        "num_directions": len(basis.thresholds),
        "num_features": backbone.num_features,
        "weights_sha256": sha256,
        **named,
        **sizes,
    }
    if labels is not None:
        rows = [{"direction": number, **label._asdict()} for number, label in enumerate(labels)]
        groups = {} if grouping is None else {"groups": grouping._asdict()}
        write_json(folder / "detectors.json", {**groups, "detectors": rows})
    else:
        (folder / "detectors.json").unlink(missing_ok=True)  # of an earlier basis
    write_json(folder / "config.json", config)
    write_text(folder / "README.md", model_card(config, labels, about or {}, made, grouping))
    return folder


def read_folder(folder: Path) -> Folder:
    """Read a folder that `write_folder` wrote.

    Raises:
        ConfigError: if it holds no such files.
        MismatchError: if a file is damaged or newer, or files contradict each other.
    """
    if (folder / "basis.safetensors").is_file() and not (folder / "config.json").exists():
        raise ConfigError(
            f"{folder}: a basis without config.json, as the first version exported it, for other programs; "
            "export its checkpoint again"
        )
    config = _json(folder / "config.json")
    _check_format(config.get("format"), folder / "config.json")
    missing = [name for name in _OPTIONS if name not in config]
    missing += [name for name in ("weights_sha256",) if not is_digest(config.get(name))]
    if missing:
        raise MismatchError(f"{folder}/config.json: lacks {', '.join(missing)}; export the basis again")
    try:
        check_options(config)
    except TypeError as error:
        raise MismatchError(f"{folder}/config.json: odd {error}; export the basis again") from error
    basis, named = _basis(folder / "basis.safetensors"), folder / "detectors.json"
    labels, grouping = _labels(named) if named.exists() or named.is_symlink() else (None, None)
    if labels is not None and len(labels) != len(basis.thresholds):
        raise MismatchError(f"{named}: {len(labels)} labels for {len(basis.thresholds)} directions")
    options = {name: config[name] for name in _OPTIONS}
    return Folder(options, config["weights_sha256"], basis, labels, grouping)


def _check_format(found: object, path: Path) -> None:
    if isinstance(found, int) and found > _FORMAT:
        raise MismatchError(f"{path}: format {found} is newer than this version's {_FORMAT}; update uibe")
    if found != _FORMAT:
        raise MismatchError(f"{path}: expected format {_FORMAT}, got {found!r}; export the basis again")


def _basis(path: Path) -> InterpretableBasis | LinearDetectors:
    try:
        with safe_open(path, "pt") as file:
            kind = (file.metadata() or {}).get("format", "")
    except (SafetensorError, OSError):
        kind = ""  # the reader below says what is wrong
    return (LinearDetectors if kind.startswith("uibe-linear") else InterpretableBasis).load(path)


def _labels(path: Path) -> tuple[tuple[Label, ...], Grouping | None]:
    content = _json(path)
    try:
        labels = tuple(_label(row, number) for number, row in enumerate(content.get("detectors", [])))
        return labels, read_grouping(content.get("groups"))
    except (KeyError, TypeError) as error:
        raise MismatchError(f"{path}: a detector lacks {error}; export the basis again") from error
    except ValueError as error:
        raise MismatchError(f"{path}: {error}; export the basis again") from error


def _label(row: dict[str, Any], number: int) -> Label:
    label = Label(*(row[name] for name in Label._fields))
    named = isinstance(label.concept, str) and isinstance(label.category, str)
    shares = (label.iou, label.low, label.high)
    numbers = all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares)
    if not (named and numbers and row["direction"] == number):
        raise ValueError(f"the entry of direction {number} is not one of a label")
    return label._replace(concept=printable(label.concept), category=printable(label.category))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; give a folder that `evaluate.py export` wrote") from error
    except (OSError, ValueError, RecursionError) as error:
        raise MismatchError(f"{path}: damaged ({error}); export the basis again") from error
    if not isinstance(content, dict):
        raise MismatchError(f"{path}: expected a JSON object; export the basis again")
    return content
