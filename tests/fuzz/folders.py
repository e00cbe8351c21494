"""The data set that is mutated: eight small images with masks, of four categories."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.builders import write_mask

__all__ = ["CATEGORIES", "MASK_SIZE", "read_csv", "write_csv", "write_folder"]

MASK_SIZE = (4, 6)
CATEGORIES = ("color", "object", "part", "scene")
_OBJECT, _PART = (2, 3, 257), (4, 5, 514)  # 257 and 514 are what a grey 1 and 2 would read as

_LABEL = """\
number,name,category,frequency,coverage,syns
1,grey-c,color(8),8,1.0,
2,car,object(2),2,0.5,
3,wall,part(1);object(3),4,0.5,
4,wheel,part(2),2,0.1,
5,door,part(1);object(1),1,0.1,
6,street-s,scene(2),2,2.0,
257,boat,object(2),1,1.0,
514,hub,part(1),1,0.1,
700,field-s,scene(2),2,2.0,
"""


def write_folder(root: Path) -> Path:
    """Write images, masks and csv files; the same at each call."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(8):
        stem = f"{'ab'[number % 2]}/{number}"
        size = (8 + number, 10, 3)
        image = f"{stem}.{'jpg' if number < 3 else 'png'}"
        (root / "images" / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, size, np.uint8)).save(root / "images" / image)
        objects = draw.choice([0, *_OBJECT], MASK_SIZE)
        parts = [draw.choice([0, 0, *_PART], MASK_SIZE) for _ in range(1 + number % 2)]
        write_mask(root / "images" / f"{stem}_object.png", objects)
        for plane, part in enumerate(parts):
            write_mask(root / "images" / f"{stem}_part_{plane}.png", part)
        masks = ";".join(f"{stem}_part_{plane}.png" for plane in range(len(parts)))
        rows.append(
            {
                "image": image,
                "split": "train" if number < 5 else "val",
                "ih": str(size[0]),
                "iw": str(size[1]),
                "sh": str(MASK_SIZE[0]),
                "sw": str(MASK_SIZE[1]),
                "color": "1",
                "object": f"{stem}_object.png",
                "part": masks if number != 4 else "",
                "scene": ["6", "", "700"][number % 3],
            }
        )
    write_csv(root / "index.csv", [list(rows[0]), *(list(row.values()) for row in rows)])
    (root / "label.csv").write_text(_LABEL, encoding="utf-8")
    categories = [["name", "first", "last"], *([name, "1", "700"] for name in CATEGORIES)]
    write_csv(root / "category.csv", categories)
    return root


def read_csv(path: Path) -> list[list[str]]:
    """All lines, the header first."""
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace"))))


def write_csv(
    path: Path, rows: list[list[str]], terminator: str = "\n", quoting: int = csv.QUOTE_MINIMAL
) -> None:
    """Write lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator=terminator, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
