"""A data set of a few noise images in Broden's format, and trainings on it of a second."""

from collections.abc import Container
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.builders import write_mask
from tests.running import Outcome, broden, run_train

__all__ = ["train_tiny", "write_tiny"]

SIDE, MASK = 24, (6, 6)


def write_tiny(
    root: Path, train: int = 6, val: int = 3, concepts: int = 2, white: Container[int] = ()
) -> Path:
    """Write noise images, train images first, with a square of each concept in its own corner.

    Args:
        root: folder to write to.
        train: number of images to learn from.
        val: number of images to be scored on.
        concepts: one or two.
        white: rows of the images that are white instead.
    """
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    numbers = np.zeros(MASK, np.int64)
    numbers[:3, :3] = 1
    numbers[3:, 3:] = concepts
    write_mask(root / "images" / "mask.png", numbers)
    lines = ["image,split,ih,iw,sh,sw,object"]
    for row in range(train + val):
        noise = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        noise[:12, :12] //= 4
        noise[12:, 12:, 0] = 250
        pixels = np.full_like(noise, 255) if row in white else noise
        Image.fromarray(pixels).save(root / "images" / f"{row}.png")
        lines.append(f"{row}.png,{'train' if row < train else 'val'},{SIDE},{SIDE},6,6,mask.png")
    labels = [
        f"{number},{name},object(1),1,0.1," for number, name in enumerate(("dark", "red")[:concepts], 1)
    ]
    tables = {
        "index": lines,
        "label": ["number,name,category,frequency,coverage,syns", *labels],
        "category": ["name,first,last,count,frequency", f"object,1,{concepts},{concepts},1"],
    }
    for name, rows in tables.items():
        (root / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def train_tiny(root: Path, folder: Path, network: str, *options: str | Path) -> Outcome:
    """One epoch of a network of `tests.numbers.networks`; cache and runs are below `folder`."""
    return run_train(
        *broden(root, folder / "cache"),
        "--model.backbone", f"tests.numbers.networks:{network}",
        "--model.weights", "null",
        "--model.layer", "cut",
        "--model.image_size", str(SIDE),
        "--data.pixels_per_batch", "64",
        "--trainer.max_epochs", "1",
        "--trainer.enable_progress_bar", "false",
        "--trainer.logger.init_args.save_dir", folder / "runs",
        "--figures.detectors", "0",
        "--forming.detectors", "0",
        "--board.projector", "0",
        *options,
    )  # fmt: skip
