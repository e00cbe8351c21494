"""Scenes: layouts of ground, sky and typical objects, each of its own kind."""

from collections.abc import Callable

import numpy as np

from uibe.data import props_city as city
from uibe.data import props_indoor as indoor
from uibe.data import props_nature as nature
from uibe.data.canvas import Canvas, Color, box
from uibe.data.palette import PAINTS, pick

__all__ = ["SCENES"]

Thing = tuple[Callable[[Canvas, float, float, float], None], float]

_BLUES: tuple[Color, ...] = ((0.35, 0.58, 0.88), (0.55, 0.7, 0.88), (0.68, 0.72, 0.78), (0.85, 0.62, 0.5))
_GREENS: tuple[Color, ...] = ((0.3, 0.5, 0.16), (0.42, 0.52, 0.2), (0.22, 0.42, 0.16))


def _ground(
    canvas: Canvas, top: float, bottom: float, material: str, color: Color, name: str, slope: float = 0.0
) -> None:
    """A band across the whole picture; `slope` raises its right end."""
    shape = [(0.0, top + slope), (1.0, top - slope), (1.0, bottom), (0.0, bottom)]
    canvas.paint(shape, material, color, name)


def _sky(canvas: Canvas, horizon: float, clouds: bool = True) -> None:
    """Sky, and often a sun or clouds."""
    rng = canvas.rng
    _ground(canvas, 0.0, horizon + 0.05, "_sky", pick(canvas, _BLUES), "sky")
    if rng.random() < 0.35:
        nature.sun(canvas, rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.6 * horizon), rng.uniform(0.05, 0.09))
    for _ in range(int(rng.integers(0, 3)) if clouds else 0):
        nature.cloud(canvas, rng.uniform(0, 1), rng.uniform(0.05, 0.7 * horizon), rng.uniform(0.08, 0.16))


def _depths(canvas: Canvas, top: float, count: int) -> list[tuple[float, float]]:
    """Feet on the ground between `top` and the bottom, far to near, with the scale at each."""
    feet = np.sort(canvas.rng.uniform(top, 0.98, count)).tolist()
    return [(y, 0.35 + 0.65 * (y - top) / (1 - top)) for y in feet]


def _scatter(canvas: Canvas, top: float, count: int, *things: Thing) -> None:
    """Things chosen at random from (thing, size when near), painted from far to near."""
    for y, scale in _depths(canvas, top, count):
        thing, size = things[int(canvas.rng.integers(len(things)))]
        x = float(canvas.rng.uniform(0.05, 0.95))
        thing(canvas, x, y, size * scale * float(canvas.rng.uniform(0.8, 1.25)))


def _beach(canvas: Canvas) -> None:
    """Sky, sea with boats, and sand with people, umbrellas, balls and dogs."""
    rng = canvas.rng
    horizon, shore = float(rng.uniform(0.25, 0.42)), float(rng.uniform(0.5, 0.65))
    _sky(canvas, horizon)
    blue = pick(canvas, ((0.1, 0.36, 0.55), (0.12, 0.5, 0.58), (0.25, 0.38, 0.48)))
    _ground(canvas, horizon, shore + 0.08, "water", blue, "sea")
    for _ in range(int(rng.integers(0, 3))):
        y = float(rng.uniform(horizon + 0.04, shore - 0.04))
        nature.boat(canvas, rng.uniform(0.1, 0.9), y, 0.12 + 0.7 * (y - horizon))
    sand = pick(canvas, ((0.85, 0.74, 0.52), (0.78, 0.68, 0.5), (0.9, 0.83, 0.68)))
    _ground(canvas, shore, 1.0, "soil", sand, "sand", float(rng.uniform(-0.06, 0.06)))
    _scatter(
        canvas,
        shore + 0.08,
        int(rng.integers(2, 6)),
        (indoor.person, 0.5),
        (nature.umbrella, 0.55),
        (indoor.ball, 0.14),
        (indoor.dog, 0.26),
        (city.bench, 0.3),
    )


def _street(canvas: Canvas, night: bool = False) -> None:
    """Buildings along a pavement and a road with cars."""
    rng = canvas.rng
    kerb, road = float(rng.uniform(0.5, 0.6)), float(rng.uniform(0.64, 0.74))
    _sky(canvas, kerb, not night)
    x = float(rng.uniform(-0.05, 0.2))
    while x < 1.1:
        block = rng.random() < 0.65
        size = float(rng.uniform(0.35, 0.5))
        (city.building if block else city.house)(canvas, x, kerb + 0.02, size, night)
        x += size * float(rng.uniform(0.65, 1.1)) + (0 if block else 0.1)
    grey = float(rng.uniform(0.5, 0.65))
    _ground(canvas, kerb, road + 0.02, "stone", canvas.vary((grey, grey, grey * 0.97), 0.03), "pavement")
    tar = float(rng.uniform(0.22, 0.36))
    _ground(canvas, road, 1.0, "asphalt", (tar, tar, tar * 1.05), "road")
    for x in np.arange(float(rng.uniform(-0.1, 0.1)), 1.1, 0.28).tolist():
        canvas.paint(box(x, 0.85, x + 0.14, 0.87), "_plain", (0.85, 0.85, 0.8), "road", "marking")
    for _ in range(int(rng.integers(1, 4))):
        things = [nature.tree, indoor.person, indoor.person, city.bench, indoor.dog]
        sizes = [0.5, 0.3, 0.3, 0.2, 0.14]
        k = int(rng.integers(len(things)))
        things[k](canvas, rng.uniform(0.05, 0.95), float(rng.uniform((kerb + road) / 2, road)), sizes[k])
    if night or rng.random() < 0.4:
        city.street_light(canvas, rng.uniform(0.1, 0.8), road, rng.uniform(0.5, 0.65), night)
    for y, scale in _depths(canvas, road + 0.1, int(rng.integers(1, 4))):
        city.car(canvas, rng.uniform(0.1, 0.9), y, 0.26 + 0.28 * scale, night)


def _night_street(canvas: Canvas) -> None:
    """A street in the dark: lit windows, headlights, lamps and the moon."""
    _street(canvas, night=True)
    if canvas.rng.random() < 0.6:
        where = canvas.layers["object"] == canvas.names.index("sky") + 1
        spots = np.argwhere(where[: canvas.size // 3])
        if len(spots):
            y, x = (spots[int(canvas.rng.integers(len(spots)))] / canvas.size).tolist()
            nature.sun(canvas, x, y, 0.045, "moon")
    level = float(canvas.rng.uniform(0.16, 0.3))
    canvas.darken((level, level * 1.05, level * 1.35))


def _meadow(canvas: Canvas) -> None:
    """Grass with flowers, trees, sometimes a house, a fence, dogs and people."""
    rng = canvas.rng
    horizon = float(rng.uniform(0.35, 0.52))
    _sky(canvas, horizon)
    if rng.random() < 0.3:
        nature.mountain(canvas, rng.uniform(0.1, 0.9), horizon + 0.04, rng.uniform(0.3, 0.5), False)
    _ground(canvas, horizon, 1.0, "turf", pick(canvas, _GREENS), "grass", float(rng.uniform(-0.06, 0.06)))
    if rng.random() < 0.45:
        city.house(canvas, rng.uniform(0.2, 0.8), horizon + 0.14, rng.uniform(0.25, 0.42))
    _scatter(canvas, horizon + 0.1, int(rng.integers(1, 4)), (nature.tree, 0.8), (nature.bush, 0.3))
    if rng.random() < 0.4:
        city.fence(canvas, horizon + 0.22, 0.13)
    _scatter(
        canvas,
        horizon + 0.15,
        int(rng.integers(0, 3)),
        (indoor.dog, 0.3),
        (indoor.person, 0.55),
        (indoor.ball, 0.14),
    )
    _scatter(canvas, horizon + 0.25, int(rng.integers(3, 12)), (nature.flower, 0.17))


def _forest(canvas: Canvas) -> None:
    """Broad-leaved trees and conifers close together on a dark floor."""
    rng = canvas.rng
    horizon = float(rng.uniform(0.3, 0.45))
    _sky(canvas, horizon, clouds=False)
    far = canvas.vary((0.14, 0.26, 0.12), 0.03)
    canvas.paint(box(0, rng.uniform(0.02, 0.2), 1, horizon + 0.1), "foliage", far, "tree", "crown")
    floor = pick(canvas, ((0.25, 0.32, 0.12), (0.35, 0.27, 0.16), (0.4, 0.3, 0.12)))
    _ground(canvas, horizon, 1.0, "turf", floor, "grass")
    autumn: Color = (0.62, 0.36, 0.1)
    tones = [(0.16, 0.34, 0.1), autumn if rng.random() < 0.4 else (0.25, 0.42, 0.14)]

    def broad(c: Canvas, x: float, y: float, s: float) -> None:
        nature.tree(c, x, y, s, tones[int(rng.integers(2))])

    _scatter(canvas, horizon + 0.06, int(rng.integers(7, 14)), (broad, 1.0), (nature.pine, 1.1))
    _scatter(
        canvas,
        0.75,
        int(rng.integers(0, 4)),
        (nature.bush, 0.35),
        (indoor.dog, 0.25),
        (indoor.person, 0.5),
        (nature.flower, 0.15),
        (city.bench, 0.35),
    )


def _mountains(canvas: Canvas) -> None:
    """Snowy peaks behind a lake or a meadow with conifers and huts."""
    rng = canvas.rng
    horizon = float(rng.uniform(0.5, 0.62))
    _sky(canvas, horizon)
    for x in rng.uniform(0, 1, int(rng.integers(2, 5))).tolist():
        nature.mountain(canvas, x, horizon + 0.02, float(rng.uniform(0.35, 0.62)))
    lake = rng.random() < 0.4
    if lake:
        _ground(canvas, horizon, 1.0, "water", canvas.vary((0.16, 0.36, 0.45)), "lake")
        nature.boat(canvas, rng.uniform(0.1, 0.9), horizon + 0.12, rng.uniform(0.1, 0.2))
    white = rng.random() < 0.45
    shore = 0.8 if lake else horizon
    ground = pick(canvas, _GREENS)
    cover, material, color = ("snow", "ice", (0.9, 0.92, 0.96)) if white else ("grass", "turf", ground)
    _ground(canvas, shore, 1.0, material, color, cover, float(rng.uniform(-0.05, 0.05)))
    if rng.random() < 0.4:
        city.house(canvas, rng.uniform(0.2, 0.8), shore + 0.15, rng.uniform(0.15, 0.3))
    _scatter(
        canvas,
        shore + 0.06,
        int(rng.integers(2, 8)),
        (nature.pine, 0.5),
        (nature.pine, 0.6),
        (nature.bush, 0.2),
        (indoor.person, 0.35),
    )


def _walls(canvas: Canvas) -> float:
    """Wall and floor of a room; returns the height where they meet."""
    rng = canvas.rng
    skirting = float(rng.uniform(0.55, 0.7))
    walls: tuple[Color, ...] = ((0.85, 0.8, 0.68), (0.62, 0.72, 0.74), (0.75, 0.6, 0.55), (0.7, 0.76, 0.62))
    material = "brick" if rng.random() < 0.15 else "plaster"
    _ground(canvas, 0.0, skirting + 0.02, material, pick(canvas, walls), "wall")
    if rng.random() < 0.6:
        indoor.window(canvas, rng.uniform(0.15, 0.85), rng.uniform(0.4, 0.46), rng.uniform(0.28, 0.36))
    if rng.random() < 0.7:
        indoor.painting(canvas, rng.uniform(0.15, 0.85), rng.uniform(0.3, 0.42), rng.uniform(0.16, 0.28))
    material = str(rng.choice(["wood", "tile", "fabric"], p=[0.6, 0.25, 0.15]))
    floors: tuple[Color, ...] = ((0.55, 0.38, 0.22), (0.72, 0.68, 0.62), (0.45, 0.3, 0.2), (0.5, 0.45, 0.48))
    _ground(canvas, skirting, 1.0, material, pick(canvas, floors), "floor")
    return skirting


def _living_room(canvas: Canvas) -> None:
    """A sofa, tables, chairs, lamps, dogs and people."""
    rng = canvas.rng
    skirting = _walls(canvas)
    if rng.random() < 0.7:
        indoor.lamp(canvas, rng.uniform(0.08, 0.92), skirting + 0.06, rng.uniform(0.4, 0.52))
    indoor.sofa(canvas, rng.uniform(0.25, 0.75), skirting + 0.14, rng.uniform(0.45, 0.62))
    _scatter(
        canvas,
        skirting + 0.15,
        int(rng.integers(1, 4)),
        (indoor.table, 0.45),
        (indoor.chair, 0.42),
        (indoor.person, 0.72),
        (indoor.dog, 0.3),
        (indoor.ball, 0.12),
    )


def _bedroom(canvas: Canvas) -> None:
    """A bed, a lamp, sometimes a chair, a dog or a person."""
    rng = canvas.rng
    skirting = _walls(canvas)
    canvas.paint(box(0.1, skirting + 0.14, 0.9, 0.98), "fabric", pick(canvas, PAINTS), "rug")
    if rng.random() < 0.7:
        indoor.lamp(canvas, rng.uniform(0.05, 0.95), skirting + 0.05, rng.uniform(0.35, 0.5))
    indoor.bed(canvas, rng.uniform(0.35, 0.65), skirting + 0.2, rng.uniform(0.6, 0.8))
    _scatter(
        canvas,
        skirting + 0.2,
        int(rng.integers(0, 3)),
        (indoor.chair, 0.42),
        (indoor.person, 0.72),
        (indoor.dog, 0.28),
        (indoor.ball, 0.12),
    )


SCENES: dict[str, Callable[[Canvas], None]] = {
    "beach": _beach,
    "bedroom": _bedroom,
    "forest": _forest,
    "living room": _living_room,
    "meadow": _meadow,
    "mountains": _mountains,
    "night street": _night_street,
    "street": _street,
}
"""Functions that paint a whole picture, by the name of the scene."""
