"""Colours that the objects of the synthetic scenes choose from."""

from uibe.data.canvas import Canvas, Color

__all__ = ["BARK", "LIT", "PAINTS", "PANE", "SKINS", "STEEL", "WALLS", "pick"]

PAINTS: tuple[Color, ...] = (
    (0.75, 0.1, 0.1), (0.1, 0.25, 0.7), (0.85, 0.85, 0.85), (0.12, 0.12, 0.14), (0.9, 0.75, 0.1),
    (0.1, 0.45, 0.2), (0.55, 0.55, 0.6), (0.9, 0.45, 0.1), (0.45, 0.15, 0.5), (0.95, 0.55, 0.7),
)  # fmt: skip
WALLS: tuple[Color, ...] = ((0.62, 0.27, 0.2), (0.85, 0.78, 0.62), (0.8, 0.8, 0.78), (0.6, 0.45, 0.35))
SKINS: tuple[Color, ...] = ((0.95, 0.78, 0.66), (0.8, 0.6, 0.45), (0.5, 0.34, 0.24))
BARK: Color = (0.36, 0.25, 0.16)
PANE: Color = (0.45, 0.58, 0.68)
LIT: Color = (1.0, 0.85, 0.45)
STEEL: Color = (0.5, 0.5, 0.53)


def pick(canvas: Canvas, colors: tuple[Color, ...]) -> Color:
    """One of the colours, varied."""
    return canvas.vary(colors[int(canvas.rng.integers(len(colors)))])
