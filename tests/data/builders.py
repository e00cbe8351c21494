"""A hand-made data set in Broden's format, small enough to know every pixel of it."""

from pathlib import Path

import numpy as np
from PIL import Image

MASK_SIZE = (4, 6)  # not square, so that a swap of height and width shows

CATEGORY = """\
name,first,last,count,frequency
color,1,1,1,1
object,2,3,2,5
part,4,300,3,4
scene,6,6,1,2
texture,7,7,1,1
"""

LABEL = """\
number,name,category,frequency,coverage,syns
1,grey-c,color(1),1,1.0,
2,car,object(2),2,0.5,
3,wall,part(1);object(3),4,0.5,
4,wheel,part(2),2,0.1,
5,door,part(1);object(1),1,0.1,
6,street-s,scene(2),2,2.0,
7,striped,texture(1),1,1.0,
300,hub,part(1),1,0.1,
"""

INDEX = """\
image,split,ih,iw,sh,sw,color,object,part,scene,texture
a/0.jpg,train,8,8,4,6,a/0_color.png,a/0_object.png,a/0_part.png;a/0_part_2.png,6,
a/1.png,train,8,8,4,6,,,a/1_part.png,,
b/2.jpg,val,8,8,4,6,,,,,7
b/3.jpg,val,8,8,4,6,,a/0_object.png,,6,
"""


def write_mask(path: Path, numbers: np.ndarray) -> None:
    """Store label numbers as R + 256 G."""
    rgb = np.stack([numbers % 256, numbers // 256, 0 * numbers], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def write_broden(root: Path) -> Path:
    """Write four images, their five masks and the csv files."""
    images = root / "images"
    rng = np.random.default_rng(0)
    for name in ("a/0.jpg", "a/1.png", "b/2.jpg", "b/3.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(images / name)
    objects, parts, hubs = (np.zeros(MASK_SIZE, np.int64) for _ in range(3))
    objects[:, :2] = 2
    objects[0, 5] = 3
    parts[1:3, 0] = 4
    hubs[1, 0] = 300
    write_mask(images / "a/0_color.png", np.ones(MASK_SIZE, np.int64))
    write_mask(images / "a/0_object.png", objects)
    write_mask(images / "a/0_part.png", parts)
    write_mask(images / "a/0_part_2.png", hubs)
    write_mask(images / "a/1_part.png", np.full(MASK_SIZE, 3))
    for name, text in (("index", INDEX), ("label", LABEL), ("category", CATEGORY)):
        (root / f"{name}.csv").write_text(text, encoding="utf-8")
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must occur in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
