"""Figures of explained predictions: blue speaks for a class, vermillion against it (Okabe and Ito)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill, shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from uibe.functional.bilinear import upsample
from uibe.report.comparison_figures import save_figure
from uibe.report.explanation import ClassParts, Part
from uibe.report.explanation_residual import EXACT
from uibe.report.figures import plain

__all__ = ["CLASSES", "explanation_figure", "page_name", "residual_figure", "save_explanation"]

CLASSES = 3
"""In one figure; more go on in the next, so that none becomes a wall."""

_FOR, _AGAINST, _NEUTRAL = "#0072B2", "#D55E00", "#8A8A8A"
_SIZE = 288
"""Longer side of a drawn map, in pixels."""
_WHY = (
    "Each dot is one class of one image; the black bar is their median. A logit is split into a "
    "constant, what all directions add, and a residual. In the grey area the residual is rounding of "
    "numbers only: the basis explains the whole logit. Complete bases, as the learned one with its "
    "orthonormal directions, do so wherever only pooling and a linear layer follow; further layers "
    "leave a residual under every basis. Fewer directions also leave what they do not span. Directions "
    "that are not orthogonal count twice what they share; solved for together (least squares) they do "
    "not, but then what one of them adds depends on the others."
)
"""Caption of the residuals."""
_HEIGHT, _NOTE = 2.75, 0.4
"""Of a class in inches, and what a note on its residual takes."""
_FADING = 0.6
"""Power from a value to its colour's strength: below 1, so that weak maps can be told from none."""
_LESS = "less, hatched: from directions that respond less than on average"
_HATCH: dict[str, Any] = {"facecolor": "none", "edgecolor": "white", "hatch": "////", "linewidth": 0.0}
_ROBUST = 0.98
"""Share of the maps' places within the colour scale: a few peaks would make all else faint."""


def page_name(name: str, number: int) -> str:
    """Name of an image's figure, the first being number 1.

    Example:
        >>> page_name("cat", 1), page_name("cat", 2)
        ('cat', 'cat-2')
    """
    return name if number == 1 else f"{name}-{number}"


def save_explanation(
    image: Image.Image, classes: Sequence[ClassParts], title: str, folder: Path, name: str, note: str = ""
) -> list[str]:
    """Write figures of three classes each, as PNG and SVG; the names of the PNG files.

    Args:
        image: RGB.
        classes: at least one.
        title: of each figure.
        folder: there already.
        name: see `page_name`.
        note: below each figure.

    Raises:
        DataError: if they cannot be written.
    """
    found = []
    for number, at in enumerate(range(0, len(classes), CLASSES), 1):
        figure = explanation_figure(image, classes[at : at + CLASSES], title, note)
        save_figure(figure, folder, page_name(name, number))
        found.append(f"{page_name(name, number)}.png")
    return found


def explanation_figure(
    image: Image.Image, classes: Sequence[ClassParts], title: str, note: str = ""
) -> Figure:
    """The image, and for each class the strongest concepts over it and a bar chart that adds up to the logit.

    All overlays have one scale, that of the colour bar, so that their strengths can be compared.

    Args:
        image: RGB.
        classes: at least one.
        title: of the figure.
        note: below it.

    Example:
        >>> import torch
        >>> part = Part([3], "sky (object)", "IoU 0.500", 2.0, torch.ones(2, 2) / 2, 2.0, 0.0)
        >>> parts = ClassParts(0, "beach", 3.0, 1.0, [part], [], (0.0, 2), (0.0, 3), (0.0, 0), 0.0, 1.0)
        >>> figure = explanation_figure(Image.new("RGB", (8, 8)), [parts], "a.png")
        >>> len(figure.axes)
        4
    """
    columns = max(1, *(max(len(each.positive), len(each.negative)) for each in classes))
    wide = min(1.6, max(0.7, image.width / image.height))
    heights = [_HEIGHT + _NOTE * bool(each.missed) for each in classes]
    size = 6.4 + 1.75 * columns * wide**0.5, sum(heights) + 0.9 + 0.2 * bool(note)
    figure = Figure(figsize=size, layout="constrained")
    ratios = {"width_ratios": [1.15 + 2.0 / wide**0.5, columns], "height_ratios": [*heights, 0.12]}
    grid = figure.add_gridspec(len(classes) + 1, 2, **ratios)
    scale = _scale([part for parts in classes for part in parts.shown])
    for place, parts in enumerate(classes):
        whole = grid[place, 0].subgridspec(1, 2, width_ratios=[1.15, 2.0 / wide**0.5])
        maps = grid[place, 1].subgridspec(2, columns)  # apart, as the chart's words below cost them no height
        original = figure.add_subplot(whole[0])
        original.imshow(np.asarray(image))
        original.set_title(plain(shorten(parts.name, 30, placeholder="...")), fontsize=10, weight="bold")
        original.set_axis_off()
        _waterfall(figure.add_subplot(whole[1]), parts)
        for row, shown in enumerate((parts.positive, parts.negative)):
            for column, part in enumerate(shown):
                _overlay(figure.add_subplot(maps[row, column]), image, part, scale)
    heats = [part.heat for parts in classes for part in parts.shown]
    _colour_bar(figure.add_subplot(grid[-1, 1]), scale, heats[0].shape if heats else (1, 1))
    if _legend(classes):
        _note(figure.add_subplot(grid[-1, 0]), _legend(classes))
    figure.supxlabel(fill(plain(note), int(17 * figure.get_figwidth())), fontsize=7, x=0.01, ha="left")
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
    figure = Figure(figsize=(8.2, 0.5 * len(shares) + 2.6), layout="constrained")
    axis = figure.subplots()
    for place, values in enumerate(shares.values()):
        found = np.maximum(np.asarray(values, dtype=float), 1e-9)
        complete = np.median(found) < EXACT
        colour = _FOR if complete else _AGAINST
        axis.plot(found, np.full(len(found), place), "o", color=colour, alpha=0.45, markersize=5)
        axis.plot(np.median(found), place, "|", color="black", markersize=18, markeredgewidth=2)
    axis.set_yticks(range(len(shares)), [plain(shorten(name, 48, placeholder="...")) for name in shares])
    axis.set_ylim(len(shares) - 0.5, -0.5)
    axis.set(xscale="log", xlabel="part of the logit that is left unexplained: |residual| / |logit|")
    largest = max((value for values in shares.values() for value in values), default=1.0)
    axis.set_xlim(3e-10, 3 * max(largest, 1.0))
    axis.axvspan(3e-10, 1e-5, color="0.92", zorder=0)
    axis.text(4e-10, -0.42, "rounding only", fontsize=8, color="0.4", va="top")
    figure.suptitle("How much of a logit does each basis leave unexplained?", fontsize=11)
    figure.supxlabel(fill(_WHY, 140), fontsize=8, x=0.01, ha="left")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _scale(parts: Sequence[Part]) -> float:
    """The absolute value at the colour bar's ends: a high quantile over all places of all maps."""
    values = np.concatenate(
        [part.heat.abs().double().cpu().numpy().ravel() for part in parts] or [np.ones(1)]
    )
    return max(float(np.quantile(values, _ROBUST)), float(values.max()) / 4, 1e-12)


def _overlay(axis: Axes, image: Image.Image, part: Part, scale: float) -> None:
    """The image in pale grey under the heat map, in the image's own proportions."""
    zoom = _SIZE / max(image.size)
    width, height = (max(1, round(side * zoom)) for side in image.size)
    grey = np.asarray(image.convert("L").resize((width, height)), dtype=float)[..., None] / 255
    heat = upsample(part.heat[None].float().cpu(), (height, width))[0].double().numpy()
    axis.imshow(_blend(0.55 + 0.45 * grey, heat / scale))
    name = plain(shorten(part.title, 30, placeholder="..."))
    what = ", less than on average" if part.is_less else _count(part)  # the count is in the chart too
    axis.set_title(f"{name}\n{_signed(part.value)}{what}\n{plain(part.detail)}".rstrip(), fontsize=7)
    axis.set_axis_off()


def _legend(classes: Sequence[ClassParts]) -> str:
    """What brackets and hatches mean, where there are any."""
    summed = any(parts.sums_directions for parts in classes)
    hatched = any(_hatched(part) for parts in classes for part in parts.shown)
    lines = ["[n]: number of directions that are summed"] if summed else []
    return "\n".join([*lines, *([_LESS] if hatched else [])])


def _note(axis: Axes, text: str) -> None:
    """Words where nothing is drawn."""
    axis.text(0.5, 1.0, text, fontsize=7, ha="center", va="top")
    axis.set_axis_off()


def _blend(base: NDArray[np.float64], heat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colour a grey picture `(H, W, 1)` by heat in [-1, 1] `(H, W)`."""
    strength = 0.85 * np.minimum(np.abs(heat), 1)[..., None] ** _FADING
    colours = np.where(heat[..., None] > 0, _rgb(_FOR), _rgb(_AGAINST))
    return base * (1 - strength) + colours * strength


def _colour_bar(axis: Axes, scale: float, places: Sequence[int]) -> None:
    """The overlays' colours, on white, with their one scale in units of the logit."""
    heat = np.linspace(-1, 1, 256)[None]
    axis.imshow(_blend(np.ones((1, 256, 1)), heat), extent=(-scale, scale, 0, 1), aspect="auto")
    axis.set_yticks([])
    axis.tick_params(labelsize=7)
    height, width = places
    axis.set_xlabel(
        "what each place adds to the logit, one scale for all maps (stronger is drawn as the ends)\n"
        f"blue: for the class, orange: against it; a map's {height} x {width} places add up to its number",
        fontsize=7,
    )


def _count(part: Part) -> str:
    return f", sum of {len(part.directions)} directions" if len(part.directions) > 1 else ""


def _signed(value: float) -> str:
    """The same in bars and maps; what is small keeps a digit."""
    return f"{value:+.2f}" if abs(value) >= 5e-3 or value == 0 else f"{value:+.0e}"


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def _waterfall(axis: Axes, parts: ClassParts) -> None:
    """Each part starts where the one before it ends; the last bar is their sum."""
    steps = parts.steps()
    ends = np.cumsum([step.value for step in steps])
    span = max(1e-9, float(np.ptp([0.0, *ends])))
    for place, (step, end) in enumerate(zip(steps, ends, strict=True)):
        sign = _FOR if step.value > 0 else _AGAINST
        colour = _NEUTRAL if step.name in ("constant", "residual") else sign
        pale = step.part is None and colour != _NEUTRAL
        _bar(axis, place, end - step.value, step.value, colour, span, pale=pale)
        if step.part and _hatched(step.part):
            axis.barh(place, -_hatched(step.part), left=end, height=0.7, **_HATCH)
        axis.plot([end, end], [place - 0.35, place + 1.35], color="0.55", linewidth=0.6)
    _bar(axis, len(steps), 0.0, parts.logit, "black", span)
    names = [plain(shorten(step.name, 34, placeholder="...")) for step in steps]
    if parts.sums_directions:
        names = [
            f"{name} [{step.summed}]" if step.summed else name
            for name, step in zip(names, steps, strict=True)
        ]
    less = [bool(step.part and step.part.is_less) for step in steps]
    names = [f"{name}, less" if few else name for name, few in zip(names, less, strict=True)]
    axis.set_yticks(range(len(steps) + 1), [*names, "logit"], fontsize=7.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.invert_yaxis()
    axis.axvline(0, color="black", linewidth=0.6, zorder=0)
    axis.set_xlim(min(0.0, *ends) - 0.04 * span, max(0.0, *ends) + 0.3 * span)  # room for the numbers
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_xlabel(_coverage(parts), fontsize=7)
    if parts.missed:
        axis.set_title(fill(plain(parts.missed), 48), fontsize=7, color=_AGAINST, weight="bold")


def _coverage(parts: ClassParts) -> str:
    """What the bars are, and how much of the whole is named."""
    what = "concepts" if parts.sums_directions else "directions"
    share = f"{parts.covered:.0%} of all contributions, taken absolutely"
    missing = f",\nwhich together miss the logit by {parts.residual:+.2f}" if parts.missed else ""
    number = sum(part.is_clear for part in parts.shown)
    return f"logit\nthe {number} {what} named here: {share}{missing}"


def _hatched(part: Part) -> float:
    """The length, with its sign, of the end of a bar that comes from less than on average."""
    if part.below * part.value <= 0:
        return 0.0
    return part.below if abs(part.below) < abs(part.value) else part.value


def _bar(
    axis: Axes, place: int, start: float, value: float, colour: str, span: float, pale: bool = False
) -> None:
    axis.barh(place, value, left=start, color=colour, height=0.7, alpha=0.45 if pale else 1.0)
    right = max(start, start + value) + 0.015 * span
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}  # the line at 0 may pass there
    axis.text(right, place, _signed(value), va="center", ha="left", fontsize=7, bbox=behind)
