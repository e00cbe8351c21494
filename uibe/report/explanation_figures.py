"""Figures of explained predictions: blue speaks for a class, vermillion against it (Okabe and Ito)."""

from collections.abc import Mapping, Sequence
from textwrap import shorten

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from uibe.functional.bilinear import upsample
from uibe.report.explanation import ClassParts, Part
from uibe.report.figures import plain

__all__ = ["explanation_figure", "residual_figure"]

_FOR, _AGAINST, _NEUTRAL = "#0072B2", "#D55E00", "#8A8A8A"
_SIZE = 224


def explanation_figure(image: Image.Image, classes: Sequence[ClassParts], title: str) -> Figure:
    """The image, and for each class the strongest concepts over it and a bar chart that adds up to the logit.

    Overlays of a class have one scale, so that their strengths can be compared.

    Args:
        image: RGB.
        classes: at least one.
        title: of the figure.

    Example:
        >>> import torch
        >>> part = Part(3, "sky (object)", "IoU 0.5", 2.0, torch.ones(2, 2) / 2)
        >>> parts = ClassParts(0, "beach", 3.0, 1.0, [part], [], (0.0, 2), (0.0, 3), 0.0)
        >>> figure = explanation_figure(Image.new("RGB", (8, 8)), [parts], "a.png")
        >>> len(figure.axes)
        3
    """
    columns = max(1, *(max(len(each.positive), len(each.negative)) for each in classes))
    figure = Figure(figsize=(5.9 + 1.75 * columns, 3.9 * len(classes) + 0.3), layout="constrained")
    grid = figure.add_gridspec(2 * len(classes), columns + 2, width_ratios=[1.15, 2.0, *[1] * columns])
    for place, parts in enumerate(classes):
        rows = slice(2 * place, 2 * place + 2)
        original = figure.add_subplot(grid[rows, 0])
        original.imshow(np.asarray(image))
        original.set_title(plain(shorten(parts.name, 30, placeholder="...")), fontsize=10, weight="bold")
        original.set_axis_off()
        _waterfall(figure.add_subplot(grid[rows, 1]), parts)
        scale = max([float(part.heat.abs().max()) for part in (*parts.positive, *parts.negative)] or [1.0])
        for row, shown in enumerate((parts.positive, parts.negative), 2 * place):
            for column, part in enumerate(shown, 2):
                _overlay(figure.add_subplot(grid[row, column]), image, part, scale)
    figure.suptitle(plain(shorten(title, 100, placeholder="...")), fontsize=10)
    return figure


def residual_figure(shares: Mapping[str, Sequence[float]]) -> Figure:
    """What bases leave of logits, a point for each image and class: why an orthonormal one leaves none.

    Args:
        shares: `|residual| / |logit|` by basis.

    Example:
        >>> figure = residual_figure({"learned": [1e-7], "supervised": [0.4]})
        >>> len(figure.axes)
        1
    """
    figure = Figure(figsize=(6.8, 0.45 * len(shares) + 1.3), layout="constrained")
    axis = figure.subplots()
    for place, values in enumerate(shares.values()):
        found = np.maximum(np.asarray(values, dtype=float), 1e-9)
        complete = np.median(found) < 1e-4
        colour = _FOR if complete else _AGAINST
        axis.plot(found, np.full(len(found), place), "o", color=colour, alpha=0.45, markersize=5)
        axis.plot(np.median(found), place, "|", color="black", markersize=18, markeredgewidth=2)
    axis.set_yticks(range(len(shares)), [plain(shorten(name, 48, placeholder="...")) for name in shares])
    axis.set_ylim(len(shares) - 0.5, -0.5)
    axis.set(xscale="log", xlabel="|residual| / |logit|")
    axis.axvline(1e-5, color="0.6", linewidth=0.8, linestyle=":")
    figure.suptitle(
        "Orthonormal directions span everything: only rounding is left\n"
        "(a point for each image and class; bar: median; dotted: 1e-5)",
        fontsize=9,
    )
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _overlay(axis: Axes, image: Image.Image, part: Part, scale: float) -> None:
    """The image in pale grey under the heat map."""
    grey = np.asarray(image.convert("L").resize((_SIZE, _SIZE)), dtype=float) / 255
    heat = _shown(part.heat, scale)[..., None]
    colours = np.where(heat > 0, _rgb(_FOR), _rgb(_AGAINST))
    strength = 0.85 * np.abs(heat)
    base = np.repeat((0.45 + 0.55 * grey)[..., None], 3, axis=2)
    axis.imshow(base * (1 - strength) + colours * strength)
    name = plain(shorten(part.name, 30, placeholder="..."))
    axis.set_title(f"{name}\n{part.value:+.2f}  {plain(part.detail)}", fontsize=7)
    axis.set_axis_off()


def _shown(heat: Tensor, scale: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    wide = upsample(heat[None].float().cpu(), (_SIZE, _SIZE))[0] / max(scale, 1e-12)
    return wide.clamp(-1, 1).double().numpy()


def _rgb(colour: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _waterfall(axis: Axes, parts: ClassParts) -> None:
    """Each part starts where the one before it ends; the last bar is their sum."""
    steps = parts.steps()
    ends = np.cumsum([value for _, value in steps])
    span = max(1e-9, float(np.ptp([0.0, *ends])))
    for place, ((name, value), end) in enumerate(zip(steps, ends, strict=True)):
        colour = _NEUTRAL if name in ("constant", "residual") else _FOR if value > 0 else _AGAINST
        _bar(axis, place, end - value, value, colour, span, pale="others" in name)
        axis.plot([end, end], [place - 0.35, place + 1.35], color="0.55", linewidth=0.6)
    _bar(axis, len(steps), 0.0, parts.logit, "black", span)
    names = [plain(shorten(name, 30, placeholder="...")) for name, _ in steps]
    axis.set_yticks(range(len(steps) + 1), [*names, "logit"], fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.invert_yaxis()
    axis.axvline(0, color="black", linewidth=0.6, zorder=0)
    axis.set_xlim(min(0.0, *ends) - 0.04 * span, max(0.0, *ends) + 0.3 * span)  # room for the numbers
    axis.spines[["top", "right", "left"]].set_visible(False)


def _bar(
    axis: Axes, place: int, start: float, value: float, colour: str, span: float, pale: bool = False
) -> None:
    axis.barh(place, value, left=start, color=colour, height=0.7, alpha=0.45 if pale else 1.0)
    right = max(start, start + value) + 0.015 * span
    text = f"{value:+.2f}" if abs(value) >= 5e-3 or value == 0 else f"{value:+.0e}"
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}  # the line at 0 may pass there
    axis.text(right, place, text, va="center", ha="left", fontsize=7, bbox=behind)
