"""Tables of a comparison: rows for CSV, a nested document for JSON, and Markdown to paste into a paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from uibe.functional.intervals import Interval, ScoreSamples, interval
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.metrics.comparison import Basis, Comparison, Readings, differences
from uibe.report.markdown import signed, table

__all__ = ["comparison_markdown", "comparison_rows", "differences_document"]

_SHOWN = ("S1", "S2")


def comparison_rows(
    scored: Comparison, bases: Mapping[str, Basis], cuts: Mapping[float | None, float]
) -> list[dict[str, Any]]:
    """A row for each basis and rule for its thresholds, every score with its 95% interval.

    Args:
        scored: from `uibe.metrics.comparison.compare`.
        bases: what was compared.
        cuts: the IoU that 95% of a random rotation's detectors stay below, by share.
    """
    rows = []
    for name, several in scored.items():
        for each in several:
            row: dict[str, Any] = {
                "basis": name,
                "thresholds": "own" if each.share is None else "quantile",
                "share": "" if each.share is None else each.share,
                "detectors": len(bases[name].directions),
                "fitted_on_pixels": bases[name].num_pixels or "",
                "firing_rate": each.firing_rate,
            }
            row.update(_columns(each.samples()))
            cut = cuts.get(each.share)
            above = each.samples(cut) if cut is not None else None
            row["random_iou_95"] = "" if cut is None else cut
            row["interpretable_above_random"] = "" if above is None else int(above.interpretable[0])
            row["unique_above_random"] = "" if above is None else int(above.unique[0])
            rows.append(row)
    return rows


def differences_document(reference: str, readings: Mapping[str, Readings]) -> dict[str, Any]:
    """Paired differences of the reference basis to every other one, plain types only.

    Args:
        reference: name of the basis that the others are taken from.
        readings: of all bases, by name.
    """
    return {
        name: {
            reading: {score: each._asdict() for score, each in scores.items()}
            for reading, scores in differences(readings[reference], other).items()
        }
        for name, other in readings.items()
        if name != reference
    }


def comparison_markdown(
    readings: Mapping[str, Readings],
    reference: str,
    notes: Mapping[str, str],
    causes: Mapping[str, Mapping[str, Interval]] | None = None,
    rates: Sequence[Mapping[str, Any]] = (),
    shown: Sequence[str] = ("area", "0.005", "0.05", "own"),
) -> str:
    """Tables in Markdown: scores, differences of the reference to the others, and where its gain comes from.

    Args:
        readings: of all bases, by name.
        reference: the basis that is compared with the others.
        notes: of each basis, for instance how many pixels it was fitted on, and its own firing rate.
        causes: from `uibe.metrics.comparison.gain_by_cause`.
        rates: rows of binary metrics: `basis`, `reading` and means.
        shown: readings to show, those that exist.
    """
    known = [name for name in shown if any(name in each for each in readings.values())]
    heads = [f"{score} {_title(name)}" for name in known for score in _SHOWN]
    scores = [
        [name, notes.get(name, ""), *(_cell(each, reading, score) for reading in known for score in _SHOWN)]
        for name, each in readings.items()
    ]
    gaps = [
        [name, *(_gap(readings[reference], other, reading, score) for reading in known for score in _SHOWN)]
        for name, other in readings.items()
        if name != reference
    ]
    parts = [
        "## Scores on the validation split, with 95% bootstrap intervals over images",
        table(["basis", "fitted on", *heads], scores),
        f"## `{reference}` minus each other basis, paired, 95% intervals (bold: 0 is outside)",
        table(["basis", *heads], gaps),
    ]
    if causes:
        parts += [
            "## Where the gain over the natural basis at its quantile comes from, by firing rate",
            table(
                ["cause", *_SHOWN],
                [[name, *(signed(*values[score]) for score in _SHOWN)] for name, values in causes.items()],
            ),
        ]
    if rates:
        cells = [[v if isinstance(v, str) else f"{v:.3f}" for v in row.values()] for row in rates]
        parts += ["## Pixels of the layer as a binary classification", table(list(rates[0]), cells)]
    parts.append(
        f"*area*: mean over the logarithm of the firing rate. *own*: thresholds of the basis itself. "
        f"Customary cut of interpretable detectors: IoU > {INTERPRETABLE_IOU}."
    )
    return "\n\n".join(parts) + "\n"


def _columns(samples: ScoreSamples) -> dict[str, float]:
    columns: dict[str, float] = {}
    for score, values in samples._asdict().items():
        found = interval(values)
        columns.update({score: found.value, f"{score}_low": found.low, f"{score}_high": found.high})
    return columns


def _title(reading: str) -> str:
    return {"area": "(area)", "own": "(own thresholds)"}.get(reading, f"at {reading}")


def _cell(readings: Readings, reading: str, score: str) -> str:
    if reading not in readings:
        return ""
    value, low, high = interval(getattr(readings[reading], score))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _gap(one: Readings, other: Readings, reading: str, score: str) -> str:
    if reading not in one or reading not in other:
        return ""
    return signed(*interval(getattr(one[reading], score) - getattr(other[reading], score)))
