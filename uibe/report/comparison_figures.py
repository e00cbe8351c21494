"""Figures of a comparison, for print: Okabe and Ito's colours, which colour-blind readers can tell apart."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uibe.functional.intervals import Interval, interval
from uibe.functional.scores import INTERPRETABLE_IOU, DissectionScores, category_scores, score_curves
from uibe.metrics.comparison import Comparison, Scored
from uibe.report.figures import plain
from uibe.report.files import write_bytes
from uibe.report.titles import OWN, falls_short, share_text

__all__ = ["categories_figure", "cut_figure", "firing_figure", "histogram_figure", "save_figure"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F", "#7F7F7F")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_TITLES = {"S1": "S1: all detectors", "S2": "S2, corrected: the best of each label"}
_COUNTS = ("detectors", "distinct labels")
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def firing_figure(scored: Comparison) -> Figure:
    """S1 and S2 against the firing rate, with 95% bands; own thresholds as markers of different shapes.

    S2 is the corrected estimate, in the curves as in the bands, and in the markers.

    Args:
        scored: from `uibe.metrics.comparison.compare`.
    """
    figure, axes = _panels(2)
    for axis, score in zip(axes, ("S1", "S2"), strict=True):
        for place, (name, several) in enumerate(scored.items()):
            _firing_curve(axis, name, several, score, place)
        for place, (name, several) in enumerate(scored.items()):
            _own_marker(axis, name, several, score, place)
        axis.set(xscale="log", xlabel="firing rate, % of the pixels", ylabel=score, title=_TITLES[score])
        axis.set_xticks(_TICKS, [f"{100 * tick:g}" for tick in _TICKS])
        axis.minorticks_off()
    axes[0].plot([], [], "o", color="0.4", markeredgecolor="black", label=OWN)
    axes[0].fill_between([], [], [], color="0.4", alpha=0.2, label="95% interval")
    return _with_legend(figure, axes)


def cut_figure(scored: Comparison, share: float | None) -> Figure:
    """Numbers of detectors and of distinct labels that reach each IoU, on a logarithmic scale.

    On a linear one the areas under the curves would be S1 and S2.

    Args:
        scored: from `uibe.metrics.comparison.compare`.
        share: of the pixels above the thresholds, or None for each basis's own thresholds.
    """
    figure, axes = _panels(2)
    cuts = torch.arange(101, dtype=torch.float64) / 100
    found = _at(scored, share)
    highest = max(float(each.dissection.iou_val.max()) for each in found.values())
    for place, (name, each) in enumerate(found.items()):
        curves = score_curves(each.dissection.iou_val, each.dissection.labels, cuts)
        for axis, curve in zip(axes, curves, strict=True):
            axis.step(cuts, curve, where="post", label=_with_rate(name, each), **_style(place))
    for axis, title in zip(axes, _COUNTS, strict=True):
        axis.axvline(INTERPRETABLE_IOU, color="0.7", linewidth=0.8, label=f"IoU {INTERPRETABLE_IOU}")
        axis.set(
            yscale="symlog",
            xlabel="IoU on validation",
            ylabel="number at or above it, log scale",
            title=title,
        )
        axis.set(xlim=(0, min(1.0, max(highest, 0.05) + 0.02)), ylim=(0, None))
    figure.suptitle(_thresholds(share, found), fontsize=9)
    return _with_legend(figure, axes)


def categories_figure(scored: Comparison, share: float | None) -> Figure:
    """Interpretable detectors of each category, stacked, and the distinct labels among them."""
    found = _at(scored, share)
    figure, axes = _panels(2)
    names = next(iter(found.values())).dissection.category_names
    for axis, count, title in zip(
        axes, ("interpretable", "unique"), ("interpretable detectors", "distinct labels"), strict=True
    ):
        left = [0] * len(found)
        for k, category in enumerate(names):
            sizes = [getattr(_by_category(each)[k], count) for each in found.values()]
            places = [_with_rate(name, each, "\n") for name, each in found.items()]
            colour = _COLOURS[k % len(_COLOURS)]
            axis.barh(places, sizes, left=left, color=colour, label=plain(category))
            left = [before + size for before, size in zip(left, sizes, strict=True)]
        axis.invert_yaxis()
        axis.set(xlabel=f"number with IoU > {INTERPRETABLE_IOU}", title=title)
    figure.suptitle(_thresholds(share, found), fontsize=9)
    return _with_legend(figure, axes)


def histogram_figure(scored: Comparison, share: float | None) -> Figure:
    """How the detectors' IoU is distributed, a panel for each basis, all on one scale."""
    found = _at(scored, share)
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(2.1 * columns, 1.7 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    highest = max(float(each.dissection.iou_val.max()) for each in found.values())
    for place, (axis, (name, each)) in enumerate(zip(axes, found.items(), strict=False)):
        axis.hist(
            each.dissection.iou_val.numpy(),
            bins=30,
            range=(0, max(highest, 0.05)),
            color=_COLOURS[place % len(_COLOURS)],
        )
        axis.axvline(INTERPRETABLE_IOU, color="0.4", linewidth=0.8)
        axis.set_title(_with_rate(name, each, "\n"), fontsize=8)
        axis.xaxis.set_tick_params(labelbottom=place + columns >= len(found))
    for axis in axes[len(found) :]:
        axis.remove()
    figure.supxlabel(f"IoU on validation; line: {INTERPRETABLE_IOU}", fontsize=9)
    figure.supylabel("detectors", fontsize=9)
    figure.suptitle(_thresholds(share, found), fontsize=9)
    return figure


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG.

    Args:
        figure: what to write.
        folder: there already.
        name: of the files, without ending.

    Raises:
        DataError: if they cannot be written.
    """
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=200, format=path.suffix[1:])
        write_bytes(path, drawn.getvalue())
    return paths


def _thresholds(share: float | None, found: Mapping[str, Scored]) -> str:
    title = OWN if share is None else f"firing on at most {share_text(share)} of the train pixels"
    told = any(_tells_rate(each) for each in found.values())
    return f"{title}; in brackets the pixels fired on" if told else title


def _tells_rate(each: Scored) -> bool:
    """Whether the title of a figure does not give the firing rate."""
    return each.share is None or falls_short(each.firing_rate, each.share)


def _with_rate(name: str, each: Scored, gap: str = " ") -> str:
    """A basis's name, with its mean firing rate where the title of the figure does not give it."""
    return f"{plain(name)}{gap}({share_text(each.firing_rate)})" if _tells_rate(each) else plain(name)


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(3.5 * count, 3.6), layout="constrained")
    return figure, figure.subplots(1, count)


def _style(place: int) -> dict[str, Any]:
    turn = place // len(_COLOURS)
    colour, dashes = _COLOURS[place % len(_COLOURS)], _DASHES[(place + turn) % len(_DASHES)]
    return {"color": colour, "linestyle": dashes, "linewidth": 1.5}


def _firing_curve(axis: Axes, name: str, several: Sequence[Scored], score: str, place: int) -> None:
    swept = [each for each in several if each.share is not None]
    found = [interval(getattr(each.samples(), score)) for each in swept]
    rates, style = [each.share or 0.0 for each in swept], _style(place)
    if swept:
        axis.plot(rates, [_drawn(score, each) for each in found], label=plain(name), **style)
        axis.fill_between(
            rates,
            [each.low for each in found],
            [each.high for each in found],
            color=style["color"],
            alpha=0.12,
            linewidth=0,
        )


def _drawn(score: str, found: Interval) -> float:
    """S2 has a bias, and the interval none: the corrected estimate belongs into the band."""
    return found.corrected if score == "S2" else found.value


def _own_marker(axis: Axes, name: str, several: Sequence[Scored], score: str, place: int) -> None:
    """The basis at its own thresholds: above all curves, of its own shape, so that none hides another."""
    for each in several:
        if each.share is None:
            axis.plot(
                each.firing_rate,
                _drawn(score, interval(getattr(each.samples(), score))),
                _MARKERS[place % len(_MARKERS)],
                color=_style(place)["color"],
                markeredgecolor="black",
                markeredgewidth=0.8,
                alpha=0.85,
                zorder=3,
                label=None if len(several) > 1 else plain(name),
            )


def _at(scored: Comparison, share: float | None) -> dict[str, Scored]:
    return {name: each for name, several in scored.items() for each in several if each.share == share}


def _by_category(each: Scored) -> list[DissectionScores]:
    result = each.dissection
    return category_scores(result.iou_val, result.labels, result.categories, len(result.category_names))


def _with_legend(figure: Figure, axes: Sequence[Axes]) -> Figure:
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure
