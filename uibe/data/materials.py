"""Materials of the synthetic scenes: fields of brightness that make one colour look like brick or grass."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MATERIALS", "Array", "noise"]

Array = NDArray[np.float32]


def noise(rng: np.random.Generator, h: int, w: int, cell_y: float, cell_x: float | None = None) -> Array:
    """Smooth noise of roughly unit variance.

    Args:
        rng: source of randomness.
        h: height in pixels.
        w: width in pixels.
        cell_y: height of a noise cell in pixels.
        cell_x: width of a cell, as `cell_y` by default.

    Returns:
        Shape (h, w), float32.

    Example:
        >>> noise(np.random.default_rng(0), 6, 8, 2).shape
        (6, 8)
    """
    rows = max(2, round(h / cell_y) + 1)
    columns = max(2, round(w / (cell_x or cell_y)) + 1)
    grid = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    return np.asarray(grid.resize((w, h), Image.Resampling.BICUBIC), np.float32)


def _grain(
    strength: float, cell_y: float = 1, cell_x: float = 1, coarse: float = 0.04
) -> Callable[[np.random.Generator, int, int, float], Array]:
    """A material of noise: fine cells of the given size, and coarse variation of brightness."""

    def field(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
        fine = noise(rng, h, w, cell_y * unit, cell_x * unit)
        return 1 + strength * fine + coarse * noise(rng, h, w, 14 * unit)

    return field


def _axes(h: int, w: int, unit: float) -> tuple[Array, Array]:
    """Rows (h, 1) and columns (1, w) in units of a 96-pixel picture."""
    return (
        np.arange(h, dtype=np.float32)[:, None] / unit,
        np.arange(w, dtype=np.float32)[None, :] / unit,
    )


def _brick(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Rows of bricks, every other row shifted by half a brick."""
    y, x = _axes(h, w, unit)
    height, length = rng.uniform(3.2, 4.5), rng.uniform(6.5, 9)
    row = np.floor(y / height)
    joint = (np.mod(y, height) < 0.9) | (np.mod(x + row * length / 2, length) < 0.9)
    tone = np.where(joint, 1.45, 0.95 + 0.1 * noise(rng, h, w, height * unit, length * unit))
    return np.asarray(tone, np.float32)


def _wood(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Boards with warped grain."""
    y, x = _axes(h, w, unit)
    warp = 1.5 * noise(rng, h, w, 8 * unit, 30 * unit)
    grain = np.sin((y + warp) * rng.uniform(1.8, 2.6)) * 0.13
    joint = np.mod(y, rng.uniform(7, 9)) < 0.8
    return np.asarray(1 + grain - 0.35 * joint + 0.0 * x, np.float32)


def _water(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Waves that lie flat, crests brighter."""
    waves = noise(rng, h, w, 1.6 * unit, 9 * unit)
    return 1 + 0.12 * waves + 0.35 * (waves > 1.5)


def _fabric(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """A weave of two sets of threads with folds."""
    y, x = _axes(h, w, unit)
    pitch = rng.uniform(1.9, 2.6)
    weave = 0.16 * np.sin(x * pitch) * np.sin(y * pitch)
    return np.asarray(1 + weave + 0.08 * noise(rng, h, w, 12 * unit, 5 * unit), np.float32)


def _metal(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Smooth paint or steel: bright and dark reflections that lie across."""
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
    shine = np.exp(-(((y - rng.uniform(0.1, 0.45)) / 0.13) ** 2)) * 0.55
    return np.asarray(0.85 + shine - 0.25 * y + 0.02 * noise(rng, h, w, 5 * unit), np.float32)


def _glass(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """A dark pane with slanting reflections."""
    y, x = np.linspace(0, 1, h)[:, None], np.linspace(0, 1, w)[None, :]
    ramp = np.mod(x + y + rng.uniform(), 1.0)
    return np.asarray(0.75 + 0.55 * (ramp > 0.72) + 0.25 * x * y, np.float32)


def _foliage(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Leaves: lit and shaded clumps."""
    clumps = noise(rng, h, w, 4 * unit)
    return 0.95 + 0.2 * clumps + 0.22 * noise(rng, h, w, 1.4 * unit)


def _stone(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Rock with cracks where two noises cross."""
    rough = noise(rng, h, w, 7 * unit)
    crack = np.abs(noise(rng, h, w, 9 * unit)) < 0.09
    return np.asarray(1 + 0.16 * rough + 0.08 * noise(rng, h, w, 1.5 * unit) - 0.35 * crack, np.float32)


def _tile(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """A square grid of joints on a glossy surface."""
    y, x = _axes(h, w, unit)
    pitch = rng.uniform(6, 9)
    joint = (np.mod(y, pitch) < 0.9) | (np.mod(x, pitch) < 0.9)
    return np.asarray(1.04 - 0.35 * joint + 0.04 * noise(rng, h, w, pitch * unit), np.float32)


def _sky(rng: np.random.Generator, h: int, w: int, unit: float) -> Array:
    """Paler towards the horizon."""
    return np.linspace(0.85, 1.25, h, dtype=np.float32)[:, None] + 0.03 * noise(rng, h, w, 20 * unit)


MATERIALS: dict[str, Callable[[np.random.Generator, int, int, float], Array]] = {
    "asphalt": _grain(0.16, 1, 1, 0.08),
    "brick": _brick,
    "fabric": _fabric,
    "foliage": _foliage,
    "glass": _glass,
    "turf": _grain(0.24, 4.5, 0.8, 0.10),
    "metal": _metal,
    "plaster": _grain(0.03, 2, 2, 0.07),
    "soil": _grain(0.09, 1, 2.5, 0.09),
    "skin": _grain(0.03, 3, 3, 0.05),
    "ice": _grain(0.03, 1, 1, 0.09),
    "stone": _stone,
    "tile": _tile,
    "water": _water,
    "wood": _wood,
    "_plain": _grain(0.02, 2, 2, 0.03),
    "_sky": _sky,
}
"""Brightness fields (h, w) around 1 by name; called with rng, h, w and the pixels per 1/96 of a picture."""
