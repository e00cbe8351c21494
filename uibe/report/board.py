"""TensorBoard's custom scalars: which curves share a chart."""

import re
from collections.abc import Sequence

__all__ = ["Layout", "layout"]

Layout = dict[str, dict[str, tuple[str, list[str]]]]
_SCORES = {
    "S1": "S1: IoU, summed over detectors",
    "S2": "S2: best IoU of each label, summed",
    "interpretable": "interpretable detectors",
    "unique": "distinct labels",
}
_DETECTORS = {"dead": "dead detectors", "margin": "margin", "firing_rate": "firing rate in training"}


def layout(bases: Sequence[str], categories: Sequence[str], measured: Sequence[str]) -> Layout:
    """Charts of scores by basis, of losses and detectors, and of scores by category.

    Args:
        bases: what is dissected: threshold policies first, then `natural`, the reference line; or nothing.
        categories: names of the concepts' categories.
        measured: names that training logs, such as `loss/total` and `detectors/dead`; a chart of others
            would stay empty.

    Returns:
        For `SummaryWriter.add_custom_scalars`: charts by section, each with the patterns of its curves.

    Example:
        >>> layout(["learned", "natural"], [], [])["scores"]["S1: IoU, summed over detectors"]
        ('Multiline', ['learned/S1$', 'natural/S1$'])
    """
    sections = {"scores": _score_charts(bases), "training": _training_charts(measured)}
    for basis in bases[:1]:
        sections[f"by category, {basis} thresholds"] = {
            title: _chart([f"{basis}/{category}/{key}" for category in categories])
            for key, title in _SCORES.items()
            if categories
        }
    return {title: charts for title, charts in sections.items() if charts}


def _score_charts(bases: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    charts = {title: _chart([f"{basis}/{key}" for basis in bases]) for key, title in _SCORES.items()}
    return charts if bases else {}


def _training_charts(measured: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    terms = [name for name in measured if name.startswith("loss/") and name != "loss/total"]
    charts = {"loss": _chart(["loss/total"])} if "loss/total" in measured else {}
    charts |= {"loss terms, unweighted": _chart(terms)} if terms else {}
    wanted = {f"detectors/{key}": title for key, title in _DETECTORS.items()}
    return charts | {title: _chart([name]) for name, title in wanted.items() if name in measured}


def _chart(names: Sequence[str]) -> tuple[str, list[str]]:
    # TensorBoard takes regular expressions that match from the start, and categories are named by users
    return "Multiline", [f"{re.escape(name)}$" for name in names]
