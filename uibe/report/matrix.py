"""One table of many comparisons."""

from collections.abc import Mapping
from typing import Any

from uibe.report.markdown import cell, signed, table

__all__ = ["matrix_markdown", "matrix_rows"]

_READINGS = {"area": "area", "0.005": "at 0.5%", "0.05": "at 5%", "own": "own thresholds"}


def matrix_rows(documents: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every row of every comparison, under the name of its experiment.

    Args:
        documents: contents of `compare.json` by experiment.

    Example:
        >>> matrix_rows({"a": {"rows": [{"basis": "natural", "S1": 1.0}]}})
        [{'experiment': 'a', 'basis': 'natural', 'S1': 1.0}]
    """
    return [{"experiment": name, **row} for name, each in documents.items() for row in each["rows"]]


def matrix_markdown(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Differences of each experiment's learned basis to every other one, paired, with 95% intervals.

    Args:
        documents: contents of `compare.json` by experiment.
    """
    parts = []
    for reading, title in _READINGS.items():
        rows = [
            [cell(name), cell(basis), *(_cell(found[reading], score) for score in ("S1", "S2"))]
            for name, each in documents.items()
            for basis, found in each["differences"].items()
            if reading in found
        ]
        if rows:
            head = f"## Learned minus other, {title}; bold: 0 is outside the 95% interval"
            parts += [head, table(["experiment", "other", "S1", "S2"], rows)]
    return "\n\n".join(parts) + "\n"


def _cell(found: Mapping[str, Mapping[str, float]], score: str) -> str:
    """Documents of earlier versions have no corrected estimate; S1 needs none."""
    kept = ("value", "low", "high") if score == "S1" else ("value", "low", "high", "corrected")
    return signed(**{name: found[score][name] for name in kept if name in found[score]})
