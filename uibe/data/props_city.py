"""Things of streets as objects with parts on a canvas.

Every function takes the canvas, the place of the object (x of its middle, y of its foot) and its size,
all as shares of the picture.
"""

import numpy as np

from uibe.data.canvas import Canvas, box, ellipse
from uibe.data.palette import LIT, PAINTS, PANE, WALLS, pick

__all__ = ["bench", "building", "car", "fence", "house", "street_light"]


def _openings(canvas: Canvas, name: str, shape: tuple[float, float, float, float], lit: bool) -> None:
    """One window as part of a house or building, the pane as part of the window."""
    x0, y0, x1, y1 = shape
    frame, glow = (0.9, 0.9, 0.87), bool(lit and canvas.rng.random() < 0.55)
    canvas.paint(box(x0, y0, x1, y1), "_plain", frame, name, "window")
    dx, dy = 0.14 * (x1 - x0), 0.14 * (y1 - y0)
    color = LIT if glow else canvas.vary(PANE)
    canvas.paint(box(x0 + dx, y0 + dy, x1 - dx, y1 - dy), "glass", color, name, "window", "pane", glow)


def house(canvas: Canvas, x: float, y: float, s: float, night: bool = False) -> None:
    """Wall, roof with chimney, door with knob, and windows with panes."""
    rng = canvas.rng
    half, eaves = 0.5 * s, y - float(rng.uniform(0.5, 0.65)) * s
    material = str(rng.choice(["brick", "plaster", "wood"]))
    canvas.paint(box(x - half, eaves, x + half, y), material, pick(canvas, WALLS), "house", "wall")
    red = pick(canvas, ((0.55, 0.22, 0.16), (0.3, 0.28, 0.3), (0.42, 0.28, 0.2)))
    roof = [
        (x - 0.6 * s, eaves),
        (x - 0.25 * s, eaves - 0.4 * s),
        (x + 0.25 * s, eaves - 0.4 * s),
        (x + 0.6 * s, eaves),
    ]
    canvas.paint(roof, "tile", red, "house", "roof")
    chimney = box(x + 0.1 * s, eaves - 0.52 * s, x + 0.22 * s, eaves - 0.22 * s)
    canvas.paint(chimney, "brick", (0.5, 0.25, 0.2), "house", "roof", "chimney")
    left = x - 0.12 * s + float(rng.uniform(-0.1, 0.1)) * s
    canvas.paint(box(left, y - 0.38 * s, left + 0.2 * s, y), "wood", pick(canvas, PAINTS), "house", "door")
    knob = ellipse(left + 0.16 * s, y - 0.19 * s, 0.025 * s, 0.025 * s)
    canvas.paint(knob, "metal", (0.9, 0.8, 0.3), "house", "door", "knob")
    for wx in (x - 0.42 * s, x + 0.2 * s):
        _openings(canvas, "house", (wx, y - 0.42 * s, wx + 0.22 * s, y - 0.2 * s), night)


def building(canvas: Canvas, x: float, y: float, s: float, night: bool = False) -> None:
    """A tall block: wall, a grid of windows with panes, and a door."""
    rng = canvas.rng
    half, top = float(rng.uniform(0.25, 0.36)) * s, y - float(rng.uniform(1.0, 1.6)) * s
    material = str(rng.choice(["brick", "plaster", "stone", "glass"], p=[0.4, 0.3, 0.2, 0.1]))
    color = pick(canvas, (*WALLS, (0.5, 0.52, 0.56)))
    canvas.paint(box(x - half, top, x + half, y), material, color, "building", "wall")
    columns, rows = int(rng.integers(2, 4)), int(rng.integers(3, 6))
    w, h = 2 * half / columns, (y - top) * 0.8 / rows
    for row in range(rows):
        for column in range(columns):
            wx, wy = x - half + (column + 0.22) * w, top + (row + 0.35) * h
            _openings(canvas, "building", (wx, wy, wx + 0.56 * w, wy + 0.55 * h), night)
    canvas.paint(
        box(x - 0.08 * s, y - 0.17 * s, x + 0.08 * s, y), "wood", pick(canvas, PAINTS), "building", "door"
    )


def car(canvas: Canvas, x: float, y: float, s: float, night: bool = False) -> None:
    """Body, windows, headlight, and wheels with hubs."""
    side = 1 if canvas.rng.random() < 0.5 else -1
    paint = pick(canvas, PAINTS)
    canvas.shadow(x, y, 0.55 * s, 0.07 * s)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + side * dx * s, y - dy * s) for dx, dy in points]

    body = at(
        (-0.5, 0.1), (-0.5, 0.3), (-0.3, 0.33), (-0.2, 0.5), (0.18, 0.5), (0.3, 0.32), (0.5, 0.27), (0.5, 0.1)
    )
    canvas.paint(body, "metal", paint, "car", "body")
    for glass in (
        at((-0.24, 0.33), (-0.17, 0.46), (-0.03, 0.46), (-0.03, 0.33)),
        at((0.01, 0.33), (0.01, 0.46), (0.15, 0.46), (0.23, 0.33)),
    ):
        canvas.paint(glass, "glass", canvas.vary((0.3, 0.38, 0.45)), "car", "window")
    light = at((0.43, 0.18), (0.43, 0.25), (0.5, 0.25), (0.5, 0.18))
    canvas.paint(light, "glass", (1.0, 0.95, 0.7), "car", "headlight", glow=night)
    for wheel in (-0.28, 0.3):
        wx, wy = x + side * wheel * s, y - 0.1 * s
        canvas.paint(ellipse(wx, wy, 0.12 * s, 0.12 * s), "_plain", (0.08, 0.08, 0.08), "car", "wheel")
        canvas.paint(ellipse(wx, wy, 0.06 * s, 0.06 * s), "metal", (0.7, 0.7, 0.72), "car", "wheel", "hub")


def street_light(canvas: Canvas, x: float, y: float, s: float, night: bool = False) -> None:
    """Pole, and a head with a bulb."""
    canvas.paint(
        box(x - 0.015 * s, y - s, x + 0.015 * s, y), "metal", (0.3, 0.31, 0.32), "street light", "pole"
    )
    head = box(x - 0.02 * s, y - 1.03 * s, x + 0.2 * s, y - 0.97 * s)
    canvas.paint(head, "metal", (0.35, 0.36, 0.38), "street light", "head")
    bulb = ellipse(x + 0.15 * s, y - 0.96 * s, 0.05 * s, 0.035 * s)
    canvas.paint(bulb, "glass", (1.0, 0.92, 0.6), "street light", "head", "bulb", glow=night)


def bench(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Seat, back and legs."""
    wood = canvas.vary((0.5, 0.32, 0.17))
    for dx in (-0.42, 0.38):
        canvas.paint(
            box(x + dx * s, y - 0.3 * s, x + (dx + 0.05) * s, y), "metal", (0.2, 0.2, 0.22), "bench", "leg"
        )
    canvas.paint(box(x - 0.5 * s, y - 0.6 * s, x + 0.5 * s, y - 0.38 * s), "wood", wood, "bench", "back")
    canvas.paint(box(x - 0.5 * s, y - 0.32 * s, x + 0.5 * s, y - 0.22 * s), "wood", wood, "bench", "seat")


def fence(canvas: Canvas, y: float, s: float) -> None:
    """Pales on two rails, across the whole picture."""
    color = pick(canvas, ((0.88, 0.87, 0.84), (0.5, 0.35, 0.22)))
    for dy in (0.75, 0.4):
        canvas.paint(box(-0.1, y - dy * s, 1.1, y - (dy - 0.1) * s), "wood", color, "fence", "rail")
    for px in np.arange(float(canvas.rng.uniform(0, 0.08)), 1.0, 0.09):
        canvas.paint(box(float(px), y - s, float(px) + 0.03, y), "wood", color, "fence", "pale")
