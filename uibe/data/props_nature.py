"""Things of the open country and the shore as objects with parts on a canvas.

Every function takes the canvas, the place of the object (x of its middle, y of its foot) and its size,
all as shares of the picture.
"""

import numpy as np

from uibe.data.canvas import Canvas, Color, blob, box, ellipse
from uibe.data.palette import BARK, PAINTS, STEEL, pick

__all__ = ["boat", "bush", "cloud", "flower", "mountain", "pine", "sun", "tree", "umbrella"]


def sun(canvas: Canvas, x: float, y: float, s: float, name: str = "sun") -> None:
    """A sun or a moon."""
    color = (1.0, 0.93, 0.55) if name == "sun" else (0.93, 0.93, 0.88)
    canvas.paint(ellipse(x, y, s, s), "_plain", color, name, glow=True)


def cloud(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A few puffs side by side."""
    white = float(canvas.rng.uniform(0.8, 1.0))
    for _ in range(4):
        dx, dy = canvas.rng.uniform(-1, 1, 2) * (s, 0.25 * s)
        canvas.paint(
            blob(canvas.rng, x + dx, y + dy, s * 0.6, s * 0.35), "_plain", (white, white, white), "cloud"
        )


def tree(canvas: Canvas, x: float, y: float, s: float, tone: Color = (0.2, 0.42, 0.13)) -> None:
    """A broad-leaved tree: trunk and crown."""
    rng = canvas.rng
    half = s * rng.uniform(0.05, 0.08)
    trunk = [(x - half, y), (x + half, y), (x + half * 0.6, y - 0.6 * s), (x - half * 0.6, y - 0.6 * s)]
    canvas.paint(trunk, "wood", canvas.vary(BARK), "tree", "trunk")
    color = canvas.vary(tone)
    for _ in range(3):
        dx, dy = rng.uniform(-0.15, 0.15, 2) * s
        canvas.paint(
            blob(rng, x + dx, y - 0.7 * s + dy, 0.3 * s, 0.28 * s), "foliage", color, "tree", "crown"
        )


def pine(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A conifer: trunk and a crown of three tiers."""
    color = canvas.vary((0.1, 0.27, 0.17), 0.04)
    trunk = box(x - 0.04 * s, y - 0.25 * s, x + 0.04 * s, y)
    canvas.paint(trunk, "wood", canvas.vary(BARK), "tree", "trunk")
    for top, foot, half in ((0.4, 0.15, 0.28), (0.7, 0.38, 0.22), (1.0, 0.62, 0.15)):
        tier = [(x, y - top * s), (x + half * s, y - foot * s), (x - half * s, y - foot * s)]
        canvas.paint(tier, "foliage", color, "tree", "crown")


def bush(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A low clump of leaves."""
    shape = blob(canvas.rng, x, y - 0.3 * s, 0.5 * s, 0.35 * s)
    canvas.paint(shape, "foliage", canvas.vary((0.24, 0.4, 0.14)), "bush")


def flower(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Stem, petals and, as part of the bloom, its centre."""
    stem = box(x - 0.05 * s, y - 0.7 * s, x + 0.05 * s, y)
    canvas.paint(stem, "_plain", (0.2, 0.5, 0.15), "flower", "stem")
    color = pick(canvas, ((0.9, 0.15, 0.2), (0.95, 0.8, 0.1), (0.95, 0.5, 0.75), (0.6, 0.3, 0.75), (1, 1, 1)))
    canvas.paint(ellipse(x, y - 0.75 * s, 0.27 * s, 0.27 * s), "_plain", color, "flower", "bloom")
    canvas.paint(
        ellipse(x, y - 0.75 * s, 0.1 * s, 0.1 * s), "_plain", (0.5, 0.32, 0.05), "flower", "bloom", "pistil"
    )


def mountain(canvas: Canvas, x: float, y: float, s: float, snow: bool = True) -> None:
    """A ragged peak of rock, snowy at its top."""
    rng = canvas.rng
    left = np.cumsum(rng.uniform(0.5, 1.5, 6))
    ridge = [(x - s * float(1 - t), y - 0.75 * s * float(t)) for t in left / left[-1]]
    ridge += [(2 * x - px + float(rng.normal(0, 0.02 * s)), py) for px, py in reversed(ridge[:-1])]
    canvas.paint([(x - s, y), *ridge, (x + s, y)], "stone", canvas.vary((0.42, 0.4, 0.42), 0.04), "mountain")
    if snow:
        teeth = [
            (x + s * dx, y - s * dy)
            for dx, dy in ((-0.27, 0.5), (-0.1, 0.46), (0.02, 0.54), (0.14, 0.45), (0.27, 0.5))
        ]
        cap = [p for p in ridge if p[1] < y - 0.5 * s]
        canvas.paint([*cap, *reversed(teeth)], "ice", (0.93, 0.95, 0.98), "mountain", "peak")


def boat(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Hull, mast and sail."""
    canvas.paint(box(x - 0.02 * s, y - s, x + 0.02 * s, y - 0.1 * s), "wood", BARK, "boat", "mast")
    sail = [(x + 0.03 * s, y - 0.97 * s), (x + 0.45 * s, y - 0.25 * s), (x + 0.03 * s, y - 0.25 * s)]
    canvas.paint(sail, "fabric", pick(canvas, ((0.97, 0.95, 0.9), (0.9, 0.3, 0.2))), "boat", "sail")
    hull = [(x - 0.5 * s, y - 0.18 * s), (x + 0.5 * s, y - 0.18 * s), (x + 0.35 * s, y), (x - 0.35 * s, y)]
    canvas.paint(hull, "wood", pick(canvas, PAINTS), "boat", "hull")


def umbrella(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Pole and a canopy of two colours."""
    canvas.shadow(x + 0.15 * s, y, 0.4 * s, 0.06 * s)
    canvas.paint(box(x - 0.02 * s, y - 0.9 * s, x + 0.02 * s, y), "metal", STEEL, "umbrella", "pole")
    first, second = pick(canvas, PAINTS), pick(canvas, PAINTS)
    for k in range(4):
        left, right = (x + (d / 2 - 1) * 0.5 * s for d in (k, k + 1))
        gore = [(x, y - s), (right, y - 0.68 * s), (left, y - 0.68 * s)]
        canvas.paint(gore, "fabric", (first, second)[k % 2], "umbrella", "canopy")
