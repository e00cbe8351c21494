"""Reports of made-up detectors, as large and as hostile as a test wants them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from uibe.functional.intervals import Interval
from uibe.report.document import comparison_section
from uibe.report.drawn import drawn_note
from uibe.report.examples import Examples
from uibe.report.page import render_page
from uibe.report.pictures import write_pictures
from uibe.report.titles import set_title

CATEGORIES = ("color", "object", "part")
HOSTILE = (
    "<script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit=1">',
    "</script><script>window.hit = 1</script>",
    "</style><h1>gone</h1>",
    "it's \"quoted\" & 'more' {{ 7 * 7 }}",
    "概念 Straße \u202eevil\u202c 🛣",
    "x" * 90,
)


def document(number: int, names: Sequence[str] = (), sprites: Sequence[str] = ()) -> dict[str, Any]:
    """Content of a report: detector i is called `names[i]` or `label i`; IoU falls, category is i mod 3."""
    named = [*names, *(f"label {i}" for i in range(len(names), number))]
    categories = [*names[: len(CATEGORIES)], *CATEGORIES[len(names) :]] if names else list(CATEGORIES)
    scores = {
        key: Interval(value, value - 1, value + 1, value - 0.5)._asdict()
        for key, value in {"S1": 12.5, "S2": 3.25, "interpretable": 9, "unique": 5}.items()
    }
    curve = {"xi": [0.0, 0.5, 1.0], "detectors": [number, 3, 0], "labels": [5, 2, 0]}
    return {
        "about": {
            "backbone": named[0],
            "layer": named[-1],
            "data": named[0],
            "quantile": 0.005,
            "train_images": 1234,
            "val_images": 567,
            "groups": None,
            "drawn": drawn_note(None, str),
            "facts": {"checkpoint": named[0], "epoch": "3"},
            "commands": [f"python evaluate.py score --ckpt_path {named[0]}"],
        },
        "scores": [
            {
                "name": name,
                "title": set_title(name, 0.005).name,
                "meaning": set_title(name, 0.005).meaning or name,
                "detectors": number,
                "firing_rate": 0.05,
                "scores": scores,
                "curves": curve,
            }
            for name in ("learned", named[0])
        ],
        "pairs": [{"set": "learned", "beside": named[0], "differences": scores}],
        "categories": [{"name": name, "detectors": number // 3, "scores": scores} for name in categories],
        "comparison": comparison_section(compare_document(named[0])),
        "detectors": [
            {
                "number": i,
                "label": named[i],
                "category": categories[i % 3],
                "iou_val": Interval(0.9 - i / (2 * number), 0.01, 0.95, 0.5)._asdict(),
                "iou_train": i / number,
                "interpretable": i % 4 != 0,
                "firing_rate": ((7 * i) % number + 1) / (10 * number),
                "fires_widely": i % 7 == 3,
                "threshold": 1.5,
                "fires_in_val": i % 5 != 0,
                "fires_in": [i % 5 != 0, i % 5 > 1],
                "images": [f"{named[i]}.jpg", "b.jpg"],
                "sprite": sprites[i] if sprites else f"detectors/{i}.webp",
                "classes": [{"name": f"{named[i]} class", "change": -0.5}],
            }
            for i in range(number)
        ],
    }


def compare_document(name: str = "natural") -> dict[str, Any]:
    """The parts of a `compare.json` that the report reads."""
    gap = {key: {"value": 2.0, "low": 1.0, "high": 3.0} for key in ("S1", "S2")}
    return {
        "reference": "learned",
        "options": {"replicates": 20},
        "differences": {name: {"area": gap, "0.05": gap}},
        "rows": [
            {"basis": basis, "thresholds": "quantile", "share": share, "S1": 100 * share + i, "S2": share}
            for i, basis in enumerate(("learned", name, "random 0", "random 1"))
            for share in (0.005, 0.2)
        ],
    }


def photographs(number: int, size: int = 224) -> list[Image.Image]:
    """Noise at all scales, which compresses as badly as a busy photograph."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(number):
        picture = np.zeros((size, size, 3))
        for cells in (4, 8, 16, 32, 64, 128):
            noise = generator.uniform(-1, 1, (cells, cells, 3)) * 110 / cells**0.5
            layer = Image.fromarray((noise + 128).clip(0, 255).astype(np.uint8))
            picture += np.asarray(layer.resize((size, size), Image.Resampling.BICUBIC), float) - 128
        made.append(Image.fromarray((picture + 128).clip(0, 255).astype(np.uint8)))
    return made


def write_report(folder: Path, number: int, images: int = 6, names: Sequence[str] = ()) -> Path:
    """A whole report, pictures and all; the page's file."""
    generator = torch.Generator().manual_seed(0)
    taken = photographs(24)
    examples = Examples(
        torch.randint(len(taken), (number, images), generator=generator),
        torch.rand(number, images, 7, 7, generator=generator),
    )
    sprites = write_pictures(folder, examples, torch.full((number,), 0.6), taken.__getitem__)
    page = folder / "index.html"
    page.write_text(render_page(document(number, names, sprites)), encoding="utf-8")
    return page
