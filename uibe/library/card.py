"""A model card in the Hugging Face hub's conventions: YAML front matter, then Markdown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from uibe.functional.groups import Grouping
from uibe.library.labels import Label
from uibe.report.drawn import drawn_note
from uibe.report.markdown import cell, code, table

__all__ = ["model_card"]

_PAPER = "2303.10523"
_SHOWN = 20
_USE = """```python
import uibe

detector = uibe.load(".")  # this folder
for found in detector.detect(image)[0]:
    print(found.name, found.score, found.boxes)
print(detector.explain(image)[0].summary())
```"""


def model_card(
    config: Mapping[str, Any],
    labels: Sequence[Label] | None,
    about: Mapping[str, str] | None = None,
    made: Sequence[str] = (),
    grouping: Grouping | None = None,
) -> str:
    """The text of `README.md`.

    Args:
        config: as in `config.json`.
        labels: of the detectors, if known.
        about: what is known of the data, by name.
        made: commands that made the folder.
        grouping: how images were drawn for the labels' intervals.

    Example:
        >>> config = {"backbone": "timm:a", "weights": None, "layer": "b", "num_directions": 2}
        >>> config |= {"num_features": 2, "weights_sha256": "0" * 64, "basis": "LinearDetectors"}
        >>> model_card(config, None).splitlines()[:2]
        ['---', 'library_name: uibe']
    """
    parts = [
        _front(config),
        *_about(config),
        *_data(about or {}),
        *_scores(labels, grouping),
        "## Use",
        _USE,
        *_made(made),
    ]
    return "\n\n".join(parts) + "\n"


def _front(config: Mapping[str, Any]) -> str:
    tags = ["interpretability", "concept-detection", "network-dissection", "explainable-ai"]
    lines = ["---", "library_name: uibe", "pipeline_tag: image-segmentation", "tags:"]
    lines += [f"- {tag}" for tag in (*tags, f"arxiv:{_PAPER}")]
    # JSON strings are YAML strings too, whatever a name contains
    return "\n".join([*lines, f"backbone: {json.dumps(config['backbone'])}", "---"])


def _about(config: Mapping[str, Any]) -> list[str]:
    kind = (
        "Directions that UIBE learned from images without labels"
        if config["basis"] == "InterpretableBasis"
        else "Directions that were learned with labels, one for each concept"
    )
    facts = {
        "network": config["backbone"],
        "weights": config["weights"] or "random",
        "weights' SHA-256": config["weights_sha256"],
        "layer": config["layer"],
        "directions": f"{config['num_directions']} in {config['num_features']} channels",
    }
    return [
        f"# Concept detectors of {code(config['backbone'])} at {code(config['layer'])}",
        f"{kind} ([arXiv {_PAPER}](https://arxiv.org/abs/{_PAPER})): detector *i* fires at a pixel *x* of "
        "the layer where `directions[i] . x > thresholds[i]`. The network itself is not part of this folder.",
        table(["", ""], [[name, code(value)] for name, value in facts.items()]),
    ]


def _data(about: Mapping[str, str]) -> list[str]:
    if not about:
        return []
    return ["## Data", table(["", ""], [[cell(name), cell(value)] for name, value in about.items()])]


def _made(made: Sequence[str]) -> list[str]:
    if not made:
        return []
    # indented: no name of a file ends the block
    return [
        "This folder was made by (paths shortened to names)",
        "\n".join(f"    {' '.join(line.split())}" for line in made),
    ]


def _scores(labels: Sequence[Label] | None, grouping: Grouping | None) -> list[str]:
    if labels is None:
        return ["The detectors have no labels: they were not compared with labelled images."]
    best = sorted(enumerate(labels), key=lambda each: -each[1].iou)[:_SHOWN]
    rows = [
        [
            str(number),
            cell(each.concept),
            cell(each.category),
            f"{each.iou:.3f} [{each.low:.3f}, {each.high:.3f}]",
        ]
        for number, each in best
    ]
    total = sum(label.iou for label in labels)
    head = (
        f"S1, the sum of the IoU of all {len(labels)} detectors on validation images, each at its own "
        f"threshold, is {total:.2f}. It grows with the share of pixels that detectors fire on; `evaluate.py "
        "report` sets it beside the layer's channels, firing as often."
    )
    return [
        "## Evaluation",
        f"{head} The {len(rows)} best, with 95% bootstrap intervals; the others are in `detectors.json`:",
        table(["direction", "label", "category", "IoU"], rows),
        drawn_note(grouping),
    ]
