"""Tables of a comparison: rows for CSV, a nested document for JSON, and Markdown to paste into a paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from uibe.functional.groups import Grouping
from uibe.functional.intervals import Counts, Interval, interval, score_intervals
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.metrics.comparison import Basis, Comparison, Readings, Scored, differences
from uibe.report.drawn import drawn_note
from uibe.report.markdown import cell, code, ranged, signed, table
from uibe.report.titles import OWN, falls_short, share_text

__all__ = ["comparison_markdown", "comparison_rows", "differences_document"]

_SHOWN = ("S1", "S2")
_NOTES = (
    "- *area*: mean over the logarithm of the firing rate, at NetDissect's quantile thresholds. *at "
    "0.5%*: each detector fires on at most that share of the train pixels. *own thresholds*: those that "
    "UIBE's objective learned for the basis; bases then fire at different rates, and scores grow with the "
    "rate.",
    "- Intervals are basic bootstrap intervals. S2 sums maxima, and a maximum over noise is too large: in "
    "the data, and again in every replicate. The interval is moved back by as much and can lie below the "
    "estimate; *corrected* is the estimate moved back too. Counts, in the CSV, shift either way, as drawing "
    f"moves detectors near the cut of {INTERPRETABLE_IOU} across it: they are moved back alike, and stay "
    "between 0 and the number of detectors or of concepts. Compare bases by the paired differences.",
    f"- Customary cut of interpretable detectors: IoU > {INTERPRETABLE_IOU}.",
)
_READINGS = (
    "*individual*: each detector for its own label. *linear-or*: a pixel is positive where any detector "
    "of the label fires. *supervised-thresholds*: each detector's threshold is fitted to its label on "
    "the train split. Means are over detectors, or over labels for linear-or.\n\n"
    "*chance* is the mAP of scores drawn at random: the mean share of the pixels that carry the "
    "detector's label, in the images in which its category is annotated. It differs between bases, as "
    "each is scored on the labels of its own detectors: where most of them are named after what covers "
    "half of the pixels, half is what chance reaches, and a mAP near *chance* says that the ranking is "
    "hardly better than dice. So compare the gap between the two, not mAP alone. mAP says how well "
    "detectors rank the pixels of their own labels, whatever the thresholds; it does not say how many "
    "concepts a basis finds: *labels* and S2 do."
)


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
            row.update(_columns(each))
            cut = cuts.get(each.share)
            above = each.samples(cut) if cut is not None else None
            row["random_iou_95"] = "" if cut is None else cut
            row["interpretable_above_random"] = "" if above is None else int(above.interpretable[0])
            row["unique_above_random"] = "" if above is None else int(above.unique[0])
            rows.append(row)
    return rows


def differences_document(
    reference: str, readings: Mapping[str, Readings], most: Mapping[str, Counts]
) -> dict[str, Any]:
    """Paired differences of the reference basis to every other one, plain types only.

    Args:
        reference: name of the basis that the others are taken from.
        readings: of all bases, by name.
        most: that the counts of each basis can be.
    """
    return {
        name: {
            reading: {score: each._asdict() for score, each in scores.items()}
            for reading, scores in differences(
                readings[reference], other, (most[reference], most[name])
            ).items()
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
    rows: Sequence[Mapping[str, Any]] = (),
    shown: Sequence[str] = ("area", "0.005", "0.05", "own"),
    grouping: Grouping | None = None,
) -> str:
    """Tables in Markdown: scores, differences of the reference to the others, and where its gain comes from.

    Args:
        readings: of all bases, by name.
        reference: the basis that is compared with the others.
        notes: of each basis, for instance how many pixels it was fitted on.
        causes: from `uibe.metrics.comparison.gain_by_cause`.
        rates: rows of binary metrics: `basis`, `reading` and means.
        rows: from `comparison_rows`, for firing rates and what random rotations reach.
        shown: readings to show, those that exist.
        grouping: how the bootstrap draws images.
    """
    known = [name for name in shown if any(name in each for each in readings.values())]
    heads = [f"{score} {_title(name)}" for name in known for score in _SHOWN]
    scores = [
        [
            cell(name),
            notes.get(name, ""),
            *(_cell(each, reading, score) for reading in known for score in _SHOWN),
        ]
        for name, each in readings.items()
    ]
    gaps = [
        [
            cell(name),
            *(_gap(readings[reference], other, reading, score) for reading in known for score in _SHOWN),
        ]
        for name, other in readings.items()
        if name != reference
    ]
    firing = {str(row["basis"]): float(row["firing_rate"]) for row in rows if row["thresholds"] == "own"}
    parts = [
        f"## Scores on the validation split, with 95% bootstrap intervals over {_drawn(grouping)}",
        table(["basis", "fitted on", *heads], scores),
        f"## {code(reference)} minus each other basis, paired, 95% intervals (bold: 0 is outside)",
        table(["basis", *heads], gaps),
        *_counts_part(rows, firing, known),
        *_causes_part(causes, firing.get(reference)),
        *_rates_part(rates),
        "\n".join([*_NOTES, *_firing_notes(rows, known), f"- {drawn_note(grouping)}"]),
    ]
    return "\n\n".join(parts) + "\n"


def _drawn(grouping: Grouping | None) -> str:
    return "images" if grouping is None else "groups of images"


def _counts_part(
    rows: Sequence[Mapping[str, Any]], firing: Mapping[str, float], shown: Sequence[str]
) -> list[str]:
    """Detectors above the customary cut, and above what random rotations reach by chance."""
    kept = [row for row in rows if row["random_iou_95"] != "" and _reading(row) in shown]
    if not kept:
        return []
    names = list(dict.fromkeys(str(row["basis"]) for row in kept))
    at = {(str(row["basis"]), _reading(row)): row for row in kept}
    read = [reading for reading in shown if any(reading == found for _, found in at)]
    cuts = {
        reading: next(row["random_iou_95"] for (_, r), row in at.items() if r == reading) for reading in read
    }
    heads = [f"{_title(reading)}: IoU > {cuts[reading]:.3f}" for reading in read]
    body = [
        [
            cell(name),
            share_text(firing[name]) if name in firing else "",
            *(_count_cell(at.get((name, reading))) for reading in read),
        ]
        for name in names
    ]
    return [
        "## Detectors (and distinct labels) above what 95% of a random rotation's detectors stay below",
        table(["basis", "own thresholds fire on", *heads], body),
    ]


def _firing_notes(rows: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> list[str]:
    """Firing rates that the titles of the columns do not give."""
    told: dict[str, list[str]] = {}
    for row in rows:
        reading, rate = _reading(row), float(row["firing_rate"])
        if reading in shown and (reading == "own" or falls_short(rate, float(row["share"]))):
            told.setdefault(reading, []).append(f"{cell(row['basis'])} {share_text(rate)}")
    why = "values tie at the threshold, such as a ReLU's zeros; these bases really fire on"
    return [
        f"- *{_title(reading).strip('()')}*{' bases fire on' if reading == 'own' else f' {why}'}: "
        f"{', '.join(told[reading])}."
        for reading in shown
        if reading in told
    ]


def _reading(row: Mapping[str, Any]) -> str:
    return "own" if row["thresholds"] == "own" else f"{row['share']:g}"


def _count_cell(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{row['interpretable_above_random']} ({row['unique_above_random']})"


def _causes_part(
    causes: Mapping[str, Mapping[str, Interval]] | None, rate: float | None, share: float = 0.005
) -> list[str]:
    if not causes:
        return []
    there = "its own firing rate" if rate is None else f"{share_text(rate)} of the pixels"
    names = {
        "thresholds": f"thresholds: the natural basis fires on {there}",
        "directions": "directions: the learned basis, firing as often",
        "total": "total",
    }
    body = [
        [names[cause], *(signed(*_told(score, values[score])) for score in _SHOWN)]
        for cause, values in causes.items()
    ]
    return [
        f"## From the natural basis, firing on {share_text(share)}, to the learned one at its own thresholds",
        table(["step", *_SHOWN], body),
    ]


def _rates_part(rates: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rates:
        return []
    cells = [[f"{v:.3f}" if isinstance(v, float) else cell(v) for v in row.values()] for row in rates]
    return ["## Pixels of the layer as a binary classification", table(list(rates[0]), cells), _READINGS]


def _columns(scored: Scored) -> dict[str, float]:
    columns: dict[str, float] = {}
    for score, found in score_intervals(scored.samples(), scored.most).items():
        columns[score] = found.value
        columns.update({f"{score}_{name}": getattr(found, name) for name in ("low", "high", "corrected")})
    return columns


def _title(reading: str) -> str:
    named = {"area": "(area)", "own": f"({OWN})"}
    return named[reading] if reading in named else f"at {share_text(float(reading))}"


def _cell(readings: Readings, reading: str, score: str) -> str:
    if reading not in readings:
        return ""
    return ranged(*_told(score, interval(getattr(readings[reading], score))))


def _gap(one: Readings, other: Readings, reading: str, score: str) -> str:
    if reading not in one or reading not in other:
        return ""
    return signed(*_told(score, interval(getattr(one[reading], score) - getattr(other[reading], score))))


def _told(score: str, found: Interval) -> tuple[float, float, float, float | None]:
    """S1 is a sum of ratios whose labels are fixed: it has no bias worth a column."""
    value, low, high, corrected = found
    return value, low, high, None if score == "S1" else corrected
