"""What the report says, as plain types: `report.json`, from which the page is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from uibe.functional.intervals import (
    Interval,
    difference_intervals,
    interval,
    most_counts,
    score_intervals,
    score_samples,
)
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.metrics.dissection import Dissection
from uibe.metrics.protocol import AS_OFTEN, curves
from uibe.report.drawn import drawn_note, read_grouping
from uibe.report.files import detector_rows
from uibe.report.titles import basis_meaning, is_wide, set_title

__all__ = [
    "affected_classes",
    "category_scores_document",
    "comparison_section",
    "detectors_document",
    "pairs_document",
    "scores_document",
]

_RATES = ("S1", "S2")
_HEADLINE = ("area", "own")
_PAIRS = (("quantile", "natural"), ("learned", AS_OFTEN))


def scores_document(
    results: Mapping[str, Dissection],
    replicates: Mapping[str, Tensor],
    quantile: float,
    supervised: bool = False,
) -> list[dict[str, Any]]:
    """For each set of detectors its title, scores with 95% intervals, mean firing rate and curves.

    Args:
        results: dissections by name.
        replicates: `(1 + B, I)` IoU of each set, as `uibe.metrics.dissection.dissect_replicates` gives them.
        quantile: share of train pixels that exceed a quantile threshold.
        supervised: whether the basis was learned from masks.
    """
    own_rate = float(results["learned"].firing_rate.mean()) if "learned" in results else None
    titles = {
        name: set_title(name, quantile, supervised, own_rate, float(result.firing_rate.mean()))
        for name, result in results.items()
    }
    return [
        {
            "name": name,
            "title": titles[name].name,
            "meaning": titles[name].meaning,
            "detectors": len(result.labels),
            "firing_rate": float(result.firing_rate.mean()),
            "scores": _plain(score_intervals(score_samples(replicates[name], result.labels), result.most)),
            "curves": curves(result),
        }
        for name, result in results.items()
    ]


def pairs_document(
    results: Mapping[str, Dissection], replicates: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """The basis beside the natural one where both fire as often, at the quantile first.

    Each has the name of the set, that of the natural basis's or None, and paired differences of the scores,
    set minus natural, with 95% intervals. A set whose natural counterpart was not scored stands alone.

    Args:
        results: dissections by name.
        replicates: `(1 + B, I)` IoU of each set, of the same images.
    """
    samples = {name: score_samples(replicates[name], each.labels) for name, each in results.items()}
    pairs = [(name, other if other in results else None) for name, other in _PAIRS if name in results]
    return [
        {
            "set": name,
            "beside": other,
            "differences": _plain(
                difference_intervals(samples[name], samples[other], (results[name].most, results[other].most))
            )
            if other
            else {},
        }
        for name, other in pairs
    ]


def category_scores_document(result: Dissection, replicates: Tensor) -> list[dict[str, Any]]:
    """The scores of each category's detectors alone, with 95% intervals.

    Args:
        result: labelled and scored detectors.
        replicates: their `(1 + B, I)` IoU.
    """
    owner = result.categories[result.labels]
    return [
        {
            "name": name,
            "detectors": int((owner == k).sum()),
            "scores": _plain(
                score_intervals(
                    score_samples(replicates[:, owner == k], result.labels[owner == k]),
                    most_counts(int((owner == k).sum()), int((result.categories == k).sum())),
                )
            ),
        }
        for k, name in enumerate(result.category_names)
    ]


def detectors_document(
    result: Dissection,
    replicates: Tensor,
    concepts: Sequence[str],
    fires: Sequence[Sequence[bool]],
    images: Sequence[Sequence[str]],
    sprites: Sequence[str],
    classes: Sequence[Sequence[Mapping[str, Any]]] = (),
) -> list[dict[str, Any]]:
    """Everything that is known about each detector, in the order of their numbers.

    Args:
        result: labelled and scored detectors, I of them.
        replicates: their `(1 + B, I)` IoU.
        concepts: names of the C concepts.
        fires: whether a detector fires in each of its strongest images, of which those that it fires in come
            first; in none of them, it fires nowhere.
        images: their names.
        sprites: path of each detector's picture, relative to the page.
        classes: for each detector the classes that it affects most, see `affected_classes`; none if
            that is unknown.
    """
    rows = detector_rows(result, concepts)
    intervals = [interval(each) for each in replicates.T]
    mean_rate = float(result.firing_rate.mean())
    return [
        {
            "number": row["direction"],
            "label": row["label"],
            "category": row["category"],
            "iou_val": found._asdict(),
            "iou_train": row["iou_train"],
            "interpretable": row["iou_val"] > INTERPRETABLE_IOU,
            "firing_rate": row["firing_rate"],
            "fires_widely": is_wide(row["firing_rate"], mean_rate, row["iou_val"]),
            "threshold": row["threshold"],
            "fires_in_val": any(fires[i]),
            "images": list(images[i]),
            "fires_in": list(fires[i]),
            "sprite": sprites[i],
            "classes": [dict(each) for each in classes[i]] if classes else [],
        }
        for i, (row, found) in enumerate(zip(rows, intervals, strict=True))
    ]


def affected_classes(
    influence: Tensor, names: Sequence[str] | None, count: int = 4
) -> list[list[dict[str, Any]]]:
    """For each direction the classes whose logits it changes most, in either sense.

    Args:
        influence: `(K, I)` from `uibe.functional.explanation.class_influence`.
        names: of the K classes; numbers stand in for unknown ones.
        count: classes a direction; fewer if there are fewer.

    Example:
        >>> import torch
        >>> affected_classes(torch.tensor([[0.5], [-2.0], [0.1]]), ["cat", "dog", "cow"], count=2)
        [[{'name': 'dog', 'change': -2.0}, {'name': 'cat', 'change': 0.5}]]
    """
    order = influence.abs().argsort(dim=0, descending=True, stable=True)[:count].T
    return [
        [{"name": names[k] if names else f"class {k}", "change": float(changes[k])} for k in numbers.tolist()]
        for numbers, changes in zip(order, influence.T, strict=True)
    ]


def comparison_section(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the report shows of a `compare.json`: differences, and scores against the firing rate.

    Args:
        document: content of `compare.json`.

    Raises:
        KeyError: if it is not such a document.
        ValueError: if what it says of groups of images is something else.
    """
    bases: dict[str, list[Mapping[str, Any]]] = {}
    own = _own_rates(document["rows"])
    for row in document["rows"]:
        if row["thresholds"] == "quantile":
            bases.setdefault(_family(row["basis"]), []).append(row)
    return {
        "reference": document["reference"],
        "own_rate": own.get(_family(document["reference"])),
        "rates_known": bool(own),
        "replicates": document["options"]["replicates"],
        "drawn": drawn_note(read_grouping(document["options"].get("groups")), str),
        "differences": [
            {
                "name": name,
                "meaning": basis_meaning(name),
                "own_rate": own.get(_family(name)),
                **{key: readings[key] for key in _HEADLINE if key in readings},
            }
            for name, readings in document["differences"].items()
        ],
        "firing": [_averaged(name, rows) for name, rows in bases.items()],
    }


def _family(name: str) -> str:
    """Random rotations count as one."""
    return "random" if name.startswith("random ") else str(name)


def _own_rates(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean firing rate of each basis at its own thresholds, where there are such."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["thresholds"] == "own":
            found.setdefault(_family(row["basis"]), []).append(float(row["firing_rate"]))
    return {name: sum(rates) / len(rates) for name, rates in found.items()}


def _averaged(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shares = sorted({row["share"] for row in rows})
    at = [[row for row in rows if row["share"] == share] for share in shares]
    means = {key: [sum(row[key] for row in each) / len(each) for each in at] for key in _RATES}
    return {"name": name, "share": shares, **means}


def _plain(found: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: each._asdict() for name, each in found.items()}
