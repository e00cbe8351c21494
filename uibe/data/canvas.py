"""A canvas that paints colours and label planes at once.

Coordinates run from 0 to 1, x to the right and y downwards, so that a drawing does not depend on the
number of pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from uibe.data.materials import MATERIALS, Array, noise

__all__ = ["LAYERS", "Canvas", "Color", "Shape", "blob", "box", "ellipse"]

Color = tuple[float, float, float]
Shape = Sequence[tuple[float, float]]

LAYERS = ("object", "part", "detail", "material")
"""The label planes of a canvas; `detail` holds parts of parts, the second plane of category part."""


def box(x0: float, y0: float, x1: float, y1: float) -> Shape:
    """The corners of a rectangle.

    Example:
        >>> box(0, 0, 1, 1)
        [(0, 0), (1, 0), (1, 1), (0, 1)]
    """
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Shape:
    """A polygon of 28 corners close to an ellipse.

    Example:
        >>> len(ellipse(0.5, 0.5, 0.2, 0.1))
        28
    """
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return [(cx + rx * float(np.cos(a)), cy + ry * float(np.sin(a))) for a in angles]


def blob(rng: np.random.Generator, cx: float, cy: float, rx: float, ry: float, rough: float = 0.18) -> Shape:
    """A closed wobbly outline around an ellipse; `rough` is the relative size of the wobbles.

    Example:
        >>> len(blob(np.random.default_rng(0), 0.5, 0.5, 0.2, 0.1))
        28
    """
    radii = 1 + rough * rng.standard_normal(28)
    radii = (radii + np.roll(radii, 1) + np.roll(radii, -1)) / 3
    outline = ellipse(0.0, 0.0, rx, ry)
    return [(cx + x * r, cy + y * r) for (x, y), r in zip(outline, radii.tolist(), strict=True)]


class Canvas:
    """An RGB picture and its label planes.

    Attributes:
        rng: source of all randomness of the drawing.
        size: height and width in pixels.
        rgb: shape (size, size, 3), float32, about 0 to 1.
        names: names of the labels; a plane holds positions in it, plus one.
        layers: for each of `LAYERS` a plane of shape (size, size), int16, 0 where nothing is labelled.

    Example:
        >>> canvas = Canvas(8, np.random.default_rng(0))
        >>> canvas.paint(box(0, 0, 1, 1), "turf", (0.2, 0.6, 0.2), "grass")
        >>> canvas.names, canvas.layers["material"].min()
        (['grass', 'turf'], np.int16(2))
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.size = size
        self.rgb: Array = np.zeros((size, size, 3), np.float32)
        self.names: list[str] = []
        self.layers = {layer: np.zeros((size, size), np.int16) for layer in LAYERS}
        self._light = float(rng.uniform(-0.35, 0.35))
        self._emission: Array = np.zeros((size, size, 1), np.float32)

    def paint(
        self,
        shape: Shape,
        material: str,
        color: Color,
        name: str = "",
        part: str = "",
        detail: str = "",
        glow: bool = False,
    ) -> None:
        """Paint a polygon over what is there, colours and labels alike.

        Args:
            shape: corners.
            material: key of `MATERIALS`; labelled unless it begins with `_`.
            color: red, green, blue from 0 to 1.
            name: object; none by default.
            part: part of the object.
            detail: part of the part.
            glow: whether `darken` spares it.
        """
        corners = np.clip(np.asarray(shape, np.float64), -1, 2) * self.size
        x0, y0 = np.clip(np.floor(corners.min(0)), 0, self.size).astype(int).tolist()
        x1, y1 = np.clip(np.ceil(corners.max(0)), 0, self.size).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            return
        alpha = _coverage(corners - (x0, y0), y1 - y0, x1 - x0)
        where = np.s_[y0:y1, x0:x1]
        surface = self._surface(y1 - y0, x1 - x0, material, color)
        self.rgb[where] += alpha[..., None] * (surface - self.rgb[where])
        self._emission[where] += alpha[..., None] * (float(glow) - self._emission[where])
        labelled = "" if material.startswith("_") else material
        for layer, label in zip(LAYERS, (name, part, detail, labelled), strict=True):
            self.layers[layer][where][alpha > 0.5] = self._number(label)

    def vary(self, color: Color, amount: float = 0.06) -> Color:
        """A colour close to the given one."""
        r, g, b = (float(np.clip(v + amount * self.rng.standard_normal(), 0, 1)) for v in color)
        return r, g, b

    def shadow(self, cx: float, cy: float, rx: float, ry: float) -> None:
        """Darken an ellipse; labels stay."""
        y, x = ((np.arange(self.size) + 0.5) / self.size for _ in range(2))
        inside = ((x[None] - cx) / rx) ** 2 + ((y[:, None] - cy) / ry) ** 2
        self.rgb *= (1 - 0.45 * np.clip(1.5 - inside, 0, 1))[..., None].astype(np.float32)

    def darken(self, tint: Color) -> None:
        """Multiply all colours by a tint, except those painted with glow, whose light bleeds around."""
        glow = Image.fromarray((self._emission[..., 0] * 255).astype(np.uint8))
        halo = np.asarray(glow.filter(ImageFilter.GaussianBlur(self.size / 24)), np.float32)[..., None] / 255
        dark = self.rgb * np.asarray(tint, np.float32)
        warm = np.asarray((0.55, 0.42, 0.2), np.float32)
        self.rgb[...] = dark + self._emission * (self.rgb - dark) + (1 - self._emission) * halo * warm

    def mirror(self) -> None:
        """Swap left and right, of colours and labels."""
        self.rgb = self.rgb[:, ::-1].copy()
        self.layers = {layer: plane[:, ::-1].copy() for layer, plane in self.layers.items()}

    def develop(self) -> Image.Image:
        """The picture as a camera would give it: exposure, tint, blur and sensor noise at random."""
        gain = self.rng.uniform(0.8, 1.15) * (1 + 0.04 * self.rng.standard_normal(3))
        grain = noise(self.rng, self.size, self.size, 1)[..., None] * self.rng.uniform(0.01, 0.04)
        chroma = self.rng.standard_normal((self.size, self.size, 3), np.float32) * 0.015
        rgb = np.clip(self.rgb * gain.astype(np.float32) + grain + chroma, 0, 1)
        picture = Image.fromarray((rgb * 255).astype(np.uint8))
        return picture.filter(ImageFilter.GaussianBlur(self.rng.uniform(0.0, 0.5) * self.size / 96))

    def _surface(self, h: int, w: int, material: str, color: Color) -> Array:
        """Lit and textured colours (h, w, 3)."""
        field = MATERIALS[material](self.rng, h, w, self.size / 96)
        across = np.linspace(-0.5, 0.5, w, dtype=np.float32)[None, :]
        down = np.linspace(0.06, -0.06, h, dtype=np.float32)[:, None]
        light = (1 + self._light * across + down) * field
        surface: Array = light[..., None] * np.asarray(color, np.float32)
        return surface

    def _number(self, label: str) -> int:
        """Position of a label in `names`, plus one; 0 for none."""
        if not label:
            return 0
        if label not in self.names:
            self.names.append(label)
        return self.names.index(label) + 1


def _coverage(corners: NDArray[np.float64], h: int, w: int) -> Array:
    """How much of each pixel (h, w) a polygon covers, from twice the resolution."""
    mask = Image.new("L", (2 * w, 2 * h))
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in (2 * corners).tolist()], fill=255)
    return np.asarray(mask.reduce(2), np.float32) / np.float32(255)
