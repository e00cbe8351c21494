"""A rendered data set, written to disk in Broden's own format: labels whose truth is known.

Eight kinds of scenes hold objects, their parts (and parts of those, in a second plane) and materials;
other images show one pure texture. As in Broden, which puts several sources together, an image is
annotated for some of the categories only. The drawings are simple, their labels exact.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

from uibe.data.canvas import Canvas
from uibe.data.scenes import SCENES
from uibe.data.synthetic_labels import CATEGORIES, NUMBERS, Numbers, Tally, color_names
from uibe.data.textures import TEXTURES, paint_texture
from uibe.errors import ConfigError, DataError

__all__ = ["render"]

_VERSION = 1  # of the drawings: raise it whenever the same parameters would give other files
_RECORD = "synthetic.json"
_IMAGE_WIDE = ("scene", "texture")


class _Source(NamedTuple):
    """A kind of annotation, as Broden's sources are, and how many of all images have it."""

    name: str
    share: float
    categories: tuple[str, ...]


_SOURCES = (
    _Source("full", 0.42, ("color", "object", "part", "material", "scene")),
    _Source("places", 0.14, ("color", "object", "scene")),
    _Source("parts", 0.12, ("color", "object", "part")),
    _Source("surfaces", 0.12, ("color", "material")),
    _Source("textures", 0.20, ("color", "texture")),
)


def render(
    root: Path | str,
    *,
    num_train: int = 400,
    num_val: int = 200,
    image_size: int = 96,
    mask_size: int = 48,
    seed: int = 0,
    progress: bool = False,
) -> Path:
    """Render a data set, or reuse the one that was rendered with the same parameters.

    Every image depends on `seed`, its split and its position there alone: the same parameters give the
    same bytes, and a larger set begins with the images and masks of a smaller one. The folder appears
    under its name only once it is complete.

    Args:
        root: folder to write.
        num_train: images of split train, at least 1.
        num_val: images of split val, at least 1.
        image_size: height and width of the images, at least 16.
        mask_size: height and width of the masks, at most `image_size`.
        seed: any whole number from 0.
        progress: whether to show a progress bar.

    Returns:
        `root` as a path.

    Raises:
        ConfigError: a parameter is out of its range.
        DataError: `root` exists and is not the same data set, or cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = render(f"{folder}/set", num_train=2, num_val=1, image_size=32, mask_size=16)
        ...     sorted(path.name for path in root.iterdir())[-5:]
        ['category.csv', 'images', 'index.csv', 'label.csv', 'synthetic.json']
    """
    root = Path(root)
    record = {
        "version": _VERSION,
        "num_train": num_train,
        "num_val": num_val,
        "image_size": image_size,
        "mask_size": mask_size,
        "seed": seed,
    }
    _check(record)
    if _is_rendered(root, record):
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            partial = Path(folder) / root.name
            _write_set(partial, record, progress)
            _publish(partial, root, record)
    except OSError as error:
        raise DataError(f"{root}: cannot be written ({error}); choose another folder") from error
    return root


def _check(record: dict[str, int]) -> None:
    """Refuse parameters that cannot be rendered."""
    least = {"num_train": 1, "num_val": 1, "image_size": 16, "mask_size": 1, "seed": 0}
    for name, bound in least.items():
        if record[name] < bound:
            raise ConfigError(f"{name}: {record[name]}; expected at least {bound}")
    if record["mask_size"] > record["image_size"]:
        raise ConfigError(f"mask_size: {record['mask_size']}; expected at most image_size")


def _is_rendered(root: Path, record: dict[str, int]) -> bool:
    """Whether `root` is the recorded set; False if there is nothing, an error if something else is."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = f"no readable {_RECORD}"
    if found != record:
        raise DataError(
            f"{root}: holds something else ({found}) than the set to render ({record}); "
            "choose another folder or delete this one"
        )
    return True


def _publish(partial: Path, root: Path, record: dict[str, int]) -> None:
    """Give the finished folder its name."""
    try:
        os.replace(partial, root)
    except OSError:
        # Another process may have finished the same set first; its folder is as good.
        if not _is_rendered(root, record):
            raise


def _write_set(root: Path, record: dict[str, int], progress: bool) -> None:
    """Write everything below `root`."""
    for source in _SOURCES:
        (root / "images" / source.name).mkdir(parents=True)
    tally = Tally()
    total = record["num_train"] + record["num_val"]
    rows = _write_images(root, record, tally)
    rows_shown = track(rows, "Rendering images", total=total, disable=not progress, transient=True)
    header = ",".join(("image", "split", "ih", "iw", "sh", "sw", *CATEGORIES))
    lines = [header, *(",".join(row) for row in rows_shown)]
    (root / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    tally.write(root)
    (root / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_images(root: Path, record: dict[str, int], tally: Tally) -> Iterator[list[str]]:
    """Write every image with its masks and yield its row of index.csv."""
    sizes = [str(record[name]) for name in ("image_size", "image_size", "mask_size", "mask_size")]
    for number, split in enumerate(("train", "val")):
        for i in range(record[f"num_{split}"]):
            rng = np.random.default_rng([record["seed"], number, i])
            source = _SOURCES[int(rng.choice(len(_SOURCES), p=[s.share for s in _SOURCES]))]
            stem = f"{source.name}/{split}_{i:05d}"
            path = root / "images" / f"{stem}.jpg"
            canvas, name = _draw(record["image_size"], rng, "texture" in source.categories)
            _develop(canvas).save(path, quality=95)
            planes = _planes(canvas, name, path, source, record["mask_size"])
            tally.add(planes)
            cells = [_cell(root, stem, category, planes.get(category, [])) for category in CATEGORIES]
            yield [f"{stem}.jpg", split, *sizes, *cells]


def _draw(size: int, rng: np.random.Generator, texture: bool) -> tuple[Canvas, str]:
    """A canvas with a texture or a scene, and its label's name."""
    canvas = Canvas(size, rng)
    if texture:
        name = str(rng.choice(list(TEXTURES)))
        paint_texture(canvas, name)
        return canvas, name
    scene = str(rng.choice(list(SCENES)))
    SCENES[scene](canvas)
    if rng.random() < 0.5:
        canvas.mirror()
    return canvas, f"{scene}-s"


def _develop(canvas: Canvas) -> Image.Image:
    """The picture, with the contrast of one of many cameras."""
    picture = canvas.develop()
    return ImageOps.autocontrast(picture, cutoff=0.5) if canvas.rng.random() < 0.3 else picture


def _planes(
    canvas: Canvas, name: str, path: Path, source: _Source, mask_size: int
) -> dict[str, list[Numbers]]:
    """Planes of label numbers by category, for the categories that the source annotates.

    Colours are named on the stored picture, with what its compression made of them.
    """
    middles = ((np.arange(mask_size) + 0.5) * canvas.size / mask_size).astype(int)
    numbers = np.array([0, *(NUMBERS[label] for label in canvas.names)], np.uint16)
    layers = {layer: numbers[plane[np.ix_(middles, middles)]] for layer, plane in canvas.layers.items()}
    with Image.open(path) as picture:
        colors = color_names(picture, mask_size)
    whole = np.full((mask_size, mask_size), NUMBERS[name], np.uint16)
    planes = {
        "color": [colors],
        "object": [layers["object"]],
        "part": [layers["part"], layers["detail"]],
        "material": [layers["material"]],
        "scene": [whole],
        "texture": [whole],
    }
    return {category: [p for p in planes[category] if p.any()] for category in source.categories}


def _cell(root: Path, stem: str, category: str, planes: list[Numbers]) -> str:
    """Write the masks of one category and return its cell of index.csv."""
    if category in _IMAGE_WIDE:
        return ";".join(str(plane[0, 0]) for plane in planes)
    names = []
    for k, plane in enumerate(planes):
        name = f"{stem}_{category}{f'_{k + 1}' if k else ''}.png"
        channels = np.stack([plane % 256, plane // 256, np.zeros_like(plane)], axis=-1)
        Image.fromarray(channels.astype(np.uint8)).save(root / "images" / name)
        names.append(name)
    return ";".join(names)
