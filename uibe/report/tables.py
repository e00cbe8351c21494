"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from uibe.metrics.protocol import AS_OFTEN
from uibe.report.titles import set_title, share_text

__all__ = ["history_table", "score_table"]

_COLUMNS = (("S1", ".2f"), ("S2", ".2f"), ("interpretable", "d"), ("unique", "d"))
_ORDER = {"quantile": 1, "natural": 2, "learned": 3, AS_OFTEN: 4}


def history_table(history: Sequence[Mapping[str, Any]], quantile: float | None = None) -> Table:
    """S1, S2 and firing rate of every dissected epoch, a column a set: both bases at the quantile first.

    It fits a terminal of 80 columns.

    Args:
        history: an entry an epoch: `epoch`, and scores by name, as `uibe.metrics.protocol.describe` gives.
        quantile: share of train pixels above the quantile thresholds, for the headings.

    Example:
        >>> scores = {"S1": 1.0, "S2": 0.5, "interpretable": 3, "unique": 2}
        >>> history_table([{"epoch": 0, "learned": scores}]).row_count
        1
    """
    names = [name for name in ("quantile", "natural", "learned") if name in history[0]]
    table = Table(
        title="S1 and S2 on the validation split, by epoch",
        caption="S1 / S2 on the share of pixels that fire: compare where as many do",
        collapse_padding=True,
    )
    table.add_column("epoch", justify="right")
    for name in names:
        table.add_column(set_title(name, quantile).name.replace(", ", ",\n"), justify="right")
    for entry in history:
        table.add_row(str(entry["epoch"]), *(_brief(entry[name]) for name in names))
    return table


def score_table(
    scores: Mapping[str, Mapping[str, Any]], quantile: float | None = None, supervised: bool = False
) -> Table:
    """S1, S2, interpretable and unique detectors of several evaluations, a row each, then by category.

    Bases that fire as often stand below each other, at the quantile first.

    Args:
        scores: by name of the evaluation, as `uibe.metrics.protocol.describe` gives.
        quantile: share of train pixels above the quantile thresholds, for the names.
        supervised: whether the basis was learned from masks.

    Example:
        >>> scores = {"S1": 1.0, "S2": 0.5, "interpretable": 3, "unique": 2}
        >>> score_table({"learned": {**scores, "categories": {"object": scores}}}).row_count
        2
    """
    table = Table(title="Scores on the validation split")
    own_rate = scores["learned"].get("firing_rate") if "learned" in scores else None
    table.add_column("basis")
    table.add_column("category")
    table.add_column("fires on", justify="right")
    for name, _ in _COLUMNS:
        table.add_column(name, justify="right")
    for basis in sorted(scores, key=lambda name: _ORDER.get(name, 0)):
        values, title = scores[basis], set_title(basis, quantile, supervised, own_rate).name
        rate = share_text(values["firing_rate"]) if "firing_rate" in values else ""
        table.add_row(escape(title), "all", rate, *_cells(values))
        for category, row in values["categories"].items():
            table.add_row("", escape(category), "", *_cells(row))
        table.add_section()
    return table


def _brief(values: Mapping[str, Any]) -> str:
    """Runs of earlier versions have no firing rate."""
    rate = f" on {share_text(values['firing_rate'])}" if "firing_rate" in values else ""
    return f"{values['S1']:.2f} / {values['S2']:.2f}{rate}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [format(row[name], spec) for name, spec in _COLUMNS]
