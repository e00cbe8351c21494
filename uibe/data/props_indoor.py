"""Things of rooms, and who lives there, as objects with parts on a canvas.

Every function takes the canvas, the place of the object (x of its middle, y of its foot) and its size,
all as shares of the picture.
"""

from uibe.data.canvas import Canvas, Color, blob, box, ellipse
from uibe.data.palette import LIT, PAINTS, SKINS, STEEL, pick

__all__ = ["ball", "bed", "chair", "dog", "lamp", "painting", "person", "sofa", "table", "window"]


def window(canvas: Canvas, x: float, y: float, s: float, lit: bool = False) -> None:
    """A window of a room, an object of its own, with a frame and a pane."""
    frame = pick(canvas, ((0.92, 0.92, 0.9), (0.45, 0.3, 0.18)))
    canvas.paint(box(x - 0.4 * s, y - s, x + 0.4 * s, y), "wood", frame, "window", "frame")
    for dx in (-0.18, 0.18):
        pane = box(x + (dx - 0.14) * s, y - 0.9 * s, x + (dx + 0.14) * s, y - 0.1 * s)
        canvas.paint(pane, "glass", LIT if lit else (0.62, 0.78, 0.92), "window", "pane")


def painting(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A framed picture of blots."""
    canvas.paint(
        box(x - 0.5 * s, y - 0.7 * s, x + 0.5 * s, y),
        "wood",
        canvas.vary((0.5, 0.36, 0.14)),
        "painting",
        "frame",
    )
    canvas.paint(
        box(x - 0.42 * s, y - 0.62 * s, x + 0.42 * s, y - 0.08 * s),
        "_plain",
        pick(canvas, PAINTS),
        "painting",
    )
    for _ in range(3):
        dx, dy = canvas.rng.uniform(-0.25, 0.25, 2) * s
        canvas.paint(
            blob(canvas.rng, x + dx, y - 0.35 * s + dy * 0.6, 0.13 * s, 0.1 * s),
            "_plain",
            pick(canvas, PAINTS),
            "painting",
        )


def sofa(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Back, seat, arms and a cushion."""
    color = pick(canvas, PAINTS)
    canvas.shadow(x, y, 0.6 * s, 0.06 * s)
    canvas.paint(box(x - 0.48 * s, y - 0.6 * s, x + 0.48 * s, y - 0.2 * s), "fabric", color, "sofa", "back")
    canvas.paint(
        box(x - 0.45 * s, y - 0.32 * s, x + 0.45 * s, y), "fabric", canvas.vary(color, 0.04), "sofa", "seat"
    )
    for dx in (-0.56, 0.42):
        canvas.paint(box(x + dx * s, y - 0.42 * s, x + (dx + 0.14) * s, y), "fabric", color, "sofa", "arm")
    cushion = blob(canvas.rng, x - 0.25 * s, y - 0.42 * s, 0.12 * s, 0.11 * s, 0.06)
    canvas.paint(cushion, "fabric", pick(canvas, PAINTS), "sofa", "back", "cushion")


def bed(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Headboard, mattress with a blanket, and a pillow."""
    canvas.shadow(x, y, 0.6 * s, 0.06 * s)
    canvas.paint(
        box(x - 0.55 * s, y - 0.65 * s, x - 0.45 * s, y),
        "wood",
        canvas.vary((0.42, 0.27, 0.15)),
        "bed",
        "headboard",
    )
    canvas.paint(
        box(x - 0.45 * s, y - 0.3 * s, x + 0.5 * s, y),
        "fabric",
        canvas.vary((0.9, 0.88, 0.84)),
        "bed",
        "mattress",
    )
    blanket = box(x - 0.15 * s, y - 0.35 * s, x + 0.52 * s, y - 0.06 * s)
    canvas.paint(blanket, "fabric", pick(canvas, PAINTS), "bed", "mattress", "blanket")
    pillow = blob(canvas.rng, x - 0.32 * s, y - 0.36 * s, 0.13 * s, 0.08 * s, 0.05)
    canvas.paint(pillow, "fabric", (0.95, 0.95, 0.95), "bed", "pillow")


def table(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Legs and top."""
    wood = canvas.vary((0.5, 0.33, 0.18))
    for dx in (-0.45, 0.39):
        canvas.paint(box(x + dx * s, y - 0.5 * s, x + (dx + 0.07) * s, y), "wood", wood, "table", "leg")
    canvas.paint(box(x - 0.52 * s, y - 0.58 * s, x + 0.52 * s, y - 0.46 * s), "wood", wood, "table", "top")


def chair(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Legs, seat and back."""
    color = pick(canvas, ((0.55, 0.37, 0.2), (0.15, 0.13, 0.12), (0.85, 0.82, 0.75)))
    for dx in (-0.25, 0.19):
        canvas.paint(box(x + dx * s, y - 0.45 * s, x + (dx + 0.06) * s, y), "wood", color, "chair", "leg")
    canvas.paint(box(x - 0.25 * s, y - s, x + 0.25 * s, y - 0.52 * s), "wood", color, "chair", "back")
    canvas.paint(
        box(x - 0.28 * s, y - 0.52 * s, x + 0.28 * s, y - 0.4 * s),
        "fabric",
        pick(canvas, PAINTS),
        "chair",
        "seat",
    )


def lamp(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A floor lamp: foot, tube and shade."""
    canvas.paint(box(x - 0.02 * s, y - 0.8 * s, x + 0.02 * s, y), "metal", STEEL, "lamp", "tube")
    canvas.paint(box(x - 0.13 * s, y - 0.04 * s, x + 0.13 * s, y), "metal", STEEL, "lamp", "foot")
    shade = [
        (x - 0.1 * s, y - s),
        (x + 0.1 * s, y - s),
        (x + 0.2 * s, y - 0.7 * s),
        (x - 0.2 * s, y - 0.7 * s),
    ]
    canvas.paint(
        shade, "fabric", pick(canvas, ((0.98, 0.9, 0.65), (0.9, 0.6, 0.4))), "lamp", "shade", glow=True
    )


def ball(canvas: Canvas, x: float, y: float, s: float) -> None:
    """A ball with a band."""
    canvas.shadow(x, y, 0.5 * s, 0.12 * s)
    canvas.paint(ellipse(x, y - 0.5 * s, 0.5 * s, 0.5 * s), "_plain", pick(canvas, PAINTS), "ball")
    canvas.paint(ellipse(x, y - 0.5 * s, 0.18 * s, 0.47 * s), "_plain", pick(canvas, PAINTS), "ball")


def dog(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Legs, body, tail, and a head with an ear."""
    side = 1 if canvas.rng.random() < 0.5 else -1
    fur = pick(canvas, ((0.45, 0.3, 0.17), (0.12, 0.11, 0.1), (0.85, 0.75, 0.6)))
    dark: Color = (fur[0] * 0.6, fur[1] * 0.6, fur[2] * 0.6)
    canvas.shadow(x, y, 0.45 * s, 0.07 * s)
    for d in (-0.3, -0.2, 0.18, 0.28):
        canvas.paint(
            box(x + (d - 0.04) * s, y - 0.35 * s, x + (d + 0.04) * s, y), "_plain", dark, "dog", "leg"
        )
    canvas.paint(ellipse(x, y - 0.42 * s, 0.38 * s, 0.17 * s), "_plain", fur, "dog", "body")
    tail = [
        (x - side * 0.33 * s, y - 0.45 * s),
        (x - side * 0.55 * s, y - 0.7 * s),
        (x - side * 0.3 * s, y - 0.55 * s),
    ]
    canvas.paint(tail, "_plain", fur, "dog", "tail")
    hx = x + side * 0.42 * s
    canvas.paint(ellipse(hx, y - 0.62 * s, 0.18 * s, 0.14 * s), "_plain", fur, "dog", "head")
    canvas.paint(
        ellipse(hx - side * 0.1 * s, y - 0.63 * s, 0.05 * s, 0.12 * s), "_plain", dark, "dog", "head", "ear"
    )


def person(canvas: Canvas, x: float, y: float, s: float) -> None:
    """Legs, torso, arms, and a head with hair."""
    rng = canvas.rng
    skin, shirt, trousers = pick(canvas, SKINS), pick(canvas, PAINTS), pick(canvas, PAINTS)
    stride = float(rng.uniform(0.03, 0.1)) * s
    canvas.shadow(x, y, 0.16 * s, 0.04 * s)
    for d in (-stride, stride):
        leg = [
            (x - 0.05 * s, y - 0.5 * s),
            (x + 0.05 * s, y - 0.5 * s),
            (x + d + 0.04 * s, y),
            (x + d - 0.04 * s, y),
        ]
        canvas.paint(leg, "fabric", trousers, "person", "leg")
    for d in (-1, 1):
        hand = float(rng.uniform(0.12, 0.22)) * s * d
        arm = [
            (x + d * 0.06 * s, y - 0.8 * s),
            (x + d * 0.11 * s, y - 0.8 * s),
            (x + hand + 0.03 * s, y - 0.45 * s),
            (x + hand - 0.03 * s, y - 0.45 * s),
        ]
        canvas.paint(arm, "skin", skin, "person", "arm")
    torso = [
        (x - 0.1 * s, y - 0.82 * s),
        (x + 0.1 * s, y - 0.82 * s),
        (x + 0.08 * s, y - 0.45 * s),
        (x - 0.08 * s, y - 0.45 * s),
    ]
    canvas.paint(torso, "fabric", shirt, "person", "torso")
    canvas.paint(ellipse(x, y - 0.91 * s, 0.07 * s, 0.09 * s), "skin", skin, "person", "head")
    hair = pick(canvas, ((0.1, 0.07, 0.05), (0.4, 0.25, 0.1), (0.8, 0.65, 0.35)))
    canvas.paint(ellipse(x, y - 0.97 * s, 0.072 * s, 0.045 * s), "_plain", hair, "person", "head", "hair")
