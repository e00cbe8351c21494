"""Labels of the synthetic data set: their numbers, the naming of colours and the counts of label.csv."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from uibe.data.materials import MATERIALS, Array
from uibe.data.scenes import SCENES
from uibe.data.textures import TEXTURES

__all__ = ["CATEGORIES", "NUMBERS", "Numbers", "Tally", "color_names"]

Numbers = NDArray[np.uint16]

_COLORS = ("black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "white", "yellow")
_OBJECTS = (
    "ball", "bed", "bench", "boat", "building", "bush", "car", "chair", "cloud", "dog", "fence", "floor",
    "flower", "grass", "house", "lake", "lamp", "moon", "mountain", "painting", "pavement", "person", "road",
    "rug", "sand", "sea", "sky", "snow", "sofa", "street light", "sun", "table", "tree", "umbrella", "wall",
    "window",
)  # fmt: skip
_PARTS = (
    "arm", "back", "blanket", "bloom", "body", "bulb", "canopy", "chimney", "crown", "cushion", "door", "ear",
    "foot", "frame", "hair", "head", "headboard", "headlight", "hub", "hull", "knob", "leg", "marking",
    "mast", "mattress", "pale", "pane", "peak", "pillow", "pistil", "pole", "rail", "roof", "sail", "seat",
    "shade", "stem", "tail", "top", "torso", "trunk", "tube", "wall", "wheel", "window",
)  # fmt: skip

CATEGORIES: Mapping[str, Sequence[str]] = {
    "color": tuple(f"{name}-c" for name in _COLORS),
    "object": _OBJECTS,
    "part": _PARTS,
    "material": tuple(name for name in MATERIALS if not name.startswith("_")),
    "scene": tuple(f"{name}-s" for name in SCENES),
    "texture": tuple(TEXTURES),
}
"""Label names by category. As in Broden, a name in two categories (wall, window) is one label."""

NUMBERS: Mapping[str, int] = {
    name: number
    for number, name in enumerate(dict.fromkeys(name for names in CATEGORIES.values() for name in names), 1)
}
"""Label number of each name: fixed, so that the masks of an image do not depend on the other images."""


def color_names(picture: Image.Image, size: int) -> Numbers:
    """Name the colour of every pixel by fixed thresholds on hue, saturation and value.

    Args:
        picture: RGB image.
        size: height and width of the result; the picture is averaged down to it.

    Returns:
        Shape (size, size), label numbers.

    Example:
        >>> green = color_names(Image.new("RGB", (4, 4), (20, 200, 30)), 2)
        >>> bool((green == NUMBERS["green-c"]).all())
        True
    """
    hsv = picture.resize((size, size), Image.Resampling.BOX).convert("HSV")
    hue, saturation, value = np.moveaxis(np.asarray(hsv, np.float32) / 255, -1, 0)
    hue = hue * 360
    name = _hue_names(hue)
    warm = (hue < 50) | (hue > 350)
    name = np.where(warm & (value < 0.62) & (saturation < 0.85) & (hue > 5), "brown", name)
    rosy = (hue < 15) | (hue > 340)
    name = np.where(rosy & (value > 0.7) & (saturation < 0.5), "pink", name)
    name = np.where(saturation < 0.16, np.where(value > 0.78, "white", "grey"), name)
    name = np.where(value < 0.2, "black", name)
    numbers = np.array([NUMBERS[f"{color}-c"] for color in _COLORS], np.uint16)
    return numbers[np.searchsorted(_COLORS, name)]


def _hue_names(hue: Array) -> NDArray[np.str_]:
    """The colour at full saturation of each hue in degrees."""
    bounds = (14, 42, 68, 165, 255, 300, 345)
    names = np.array(["red", "orange", "yellow", "green", "blue", "purple", "pink", "red"])
    return names[np.digitize(hue, bounds)]


class Tally:
    """How many images every label appears in, and which share of them it covers.

    Example:
        >>> tally = Tally()
        >>> tally.add({"object": [np.full((2, 2), NUMBERS["car"], np.uint16)], "scene": []})
        >>> tally.frequency["object", NUMBERS["car"]], tally.coverage["object", NUMBERS["car"]]
        (1, 1.0)
    """

    def __init__(self) -> None:
        self.frequency: Counter[tuple[str, int]] = Counter()
        self.coverage: defaultdict[tuple[str, int], float] = defaultdict(float)

    def add(self, planes: Mapping[str, Sequence[Numbers]]) -> None:
        """Count one image, given its planes by category (a full plane for a label of the whole image).

        The key `("", number)` counts a label over all categories.
        """
        total = [plane for category in planes.values() for plane in category]
        for category, stack in (*planes.items(), ("", total)):
            if not stack:
                continue
            for number in np.unique(stack)[1 if np.min(stack) == 0 else 0 :].tolist():
                covered = np.any(np.equal(stack, number), axis=0)
                self.frequency[category, number] += 1
                self.coverage[category, number] += float(covered.mean())

    def write(self, root: Path) -> None:
        """Write label.csv, category.csv and one c_CATEGORY.csv per category below `root`."""
        _write(root / "label.csv", "number,name,category,frequency,coverage,syns", self._labels())
        _write(root / "category.csv", "name,first,last,count,frequency", self._categories())
        for category, names in CATEGORIES.items():
            codes = (
                (code, NUMBERS[name], name, *self._counts(category, NUMBERS[name]))
                for code, name in enumerate(names, 1)
            )
            _write(root / f"c_{category}.csv", "code,number,name,frequency,coverage", codes)

    def _counts(self, category: str, number: int) -> tuple[int, str]:
        """Frequency and formatted coverage."""
        return self.frequency[category, number], f"{self.coverage[category, number]:.6f}"

    def _labels(self) -> Iterable[Sequence[object]]:
        """Rows of label.csv."""
        for name, number in NUMBERS.items():
            homes = [category for category, names in CATEGORIES.items() if name in names]
            shares = ";".join(f"{category}({self.frequency[category, number]})" for category in homes)
            yield number, name, shares, *self._counts("", number), ""

    def _categories(self) -> Iterable[Sequence[object]]:
        """Rows of category.csv."""
        for category, names in CATEGORIES.items():
            numbers = [NUMBERS[name] for name in names]
            frequency = sum(self.frequency[category, number] for number in numbers)
            yield category, min(numbers), max(numbers), len(numbers), frequency


def _write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    """Write one csv file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)
