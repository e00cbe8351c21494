"""Pictures of one pure texture, as in the Describable Textures Dataset."""

from collections.abc import Callable

import numpy as np

from uibe.data.canvas import Canvas
from uibe.data.materials import Array, noise
from uibe.data.palette import PAINTS, WALLS, pick

__all__ = ["TEXTURES", "paint_texture"]

Pattern = Callable[[np.random.Generator, Array, Array], Array]


def _striped(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Sharp stripes of two colours."""
    return np.asarray(np.mod(u, 1) < rng.uniform(0.35, 0.6), np.float32)


def _banded(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Soft bands of changing width."""
    return np.asarray(0.5 + 0.5 * np.sin(2.2 * u + 1.4 * np.sin(0.9 * u + rng.uniform(0, 6))), np.float32)


def _chequered(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Squares that alternate."""
    return np.asarray(np.mod(np.floor(u) + np.floor(v), 2), np.float32)


def _dotted(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Round dots, every other row shifted."""
    x, y = np.mod(u + 0.5 * np.mod(np.floor(v), 2), 1) - 0.5, np.mod(v, 1) - 0.5
    return np.asarray(np.hypot(x, y) < rng.uniform(0.22, 0.38), np.float32)


def _zigzagged(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Stripes that go up and down."""
    return np.asarray(np.mod(v + np.abs(np.mod(u, 2) - 1) * rng.uniform(0.7, 1.3), 1) < 0.5, np.float32)


def _grid(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Thin lines that cross at right angles."""
    width = rng.uniform(0.14, 0.25)
    return np.asarray((np.mod(u, 1) < width) | (np.mod(v, 1) < width), np.float32)


def _honeycombed(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Hexagonal cells: how far the nearest of the centres is."""
    tall = np.sqrt(3.0)
    near = [
        np.maximum(np.abs(x), 0.5 * np.abs(x) + 0.5 * tall * np.abs(y))
        for shift in (0.0, 0.5)
        for x, y in [(np.mod(u + shift, 1) - 0.5, np.mod(v + shift * tall, tall) - 0.5 * tall)]
    ]
    return np.asarray(np.minimum(*near) > rng.uniform(0.36, 0.43), np.float32)


def _spiralled(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """One spiral around the middle."""
    x, y = u - u.mean(), v - v.mean()
    turn = np.arctan2(y, x) / (2 * np.pi) * (1 if rng.random() < 0.5 else -1)
    return np.asarray(np.mod(np.hypot(x, y) * 0.8 + turn, 1) < 0.5, np.float32)


def _blotchy(rng: np.random.Generator, u: Array, v: Array) -> Array:
    """Irregular spots."""
    h, w = u.shape
    return np.asarray(noise(rng, h, w, h / 9) > rng.uniform(-0.1, 0.5), np.float32)


TEXTURES: dict[str, Pattern] = {
    "banded": _banded,
    "blotchy": _blotchy,
    "chequered": _chequered,
    "grid": _grid,
    "honeycombed": _honeycombed,
    "polka-dotted": _dotted,
    "spiralled": _spiralled,
    "striped": _striped,
    "zigzagged": _zigzagged,
}
"""Patterns (h, w) from 0 to 1 over warped coordinates in periods, by name."""


def paint_texture(canvas: Canvas, name: str) -> None:
    """Fill a canvas with a texture of two colours, turned, scaled and warped at random; no labels.

    Args:
        canvas: canvas to fill.
        name: key of `TEXTURES`.

    Example:
        >>> canvas = Canvas(16, np.random.default_rng(0))
        >>> paint_texture(canvas, "striped")
        >>> canvas.rgb.shape, canvas.names
        ((16, 16, 3), [])
    """
    rng, n = canvas.rng, canvas.size
    y, x = np.meshgrid(*2 * [np.linspace(0, 1, n, dtype=np.float32)], indexing="ij")
    angle, periods = rng.uniform(0, np.pi), rng.uniform(4, 10)
    u = periods * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 1)
    v = periods * (np.cos(angle) * y - np.sin(angle) * x) + rng.uniform(0, 1)
    bend = rng.uniform(0.0, 0.18)
    u, v = (axis + bend * noise(rng, n, n, n / 3) for axis in (u, v))
    pattern = TEXTURES[name](rng, u.astype(np.float32), v.astype(np.float32))[..., None]
    first, second = np.asarray(pick(canvas, PAINTS)), np.asarray(pick(canvas, PAINTS + WALLS))
    if np.abs(first - second).sum() < 0.6:
        second = 1 - first  # two colours that cannot be told apart make no texture
    shade = 1 + 0.12 * noise(rng, n, n, n / 3)[..., None] + 0.05 * noise(rng, n, n, n / 48)[..., None]
    canvas.rgb[...] = (first + pattern * (second - first)) * shade
