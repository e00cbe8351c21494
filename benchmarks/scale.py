"""Time per pixel and peak memory at several sizes of a generated data set, up to Broden's.

Each size is trained in a process of its own and dissected in another, so that every peak is that of one job
at one size. Seconds must grow with the size, memory must not. The training is that of `Trainer` and
`BasisModule`; an epoch is timed from its start to its end, the placing of the basis before it is `setup`.
"""

import logging
import multiprocessing
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

from generated import generate, open_store
from harness import finish, spread, use_threads
from jsonargparse import auto_cli
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules import FeatureDataModule
from lightning_modules import BasisModule
from uibe.data.features import FeatureStore
from uibe.metrics.protocol import EvaluationProtocol, evaluate
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis

QUANTILE = 0.005
# by D: a network, a layer of it, and pixels of its input a pixel of the layer
LAYERS = {
    64: ("torchvision:resnet18", "layer1", 4),
    128: ("torchvision:resnet18", "layer2", 8),
    256: ("torchvision:resnet18", "layer3", 16),
    512: ("torchvision:resnet18", "layer4", 32),
    1024: ("torchvision:resnet50", "layer3", 16),
    2048: ("torchvision:resnet50", "layer4", 32),
}


class Job(NamedTuple):
    """What a process works on."""

    folder: Path
    network: dict[str, Any]
    dtype: str
    pixels: int
    shuffle_megabytes: int
    epochs: int
    steps: int | None
    dissected: int | None
    threads: int | None


class Result(NamedTuple):
    """What it did.

    Attributes:
        pixels: feature pixels of each time.
        seconds: times.
        setup: seconds before the first.
        megabytes: peak of resident memory.
    """

    pixels: int
    seconds: list[float]
    setup: float
    megabytes: float


def main(
    images: int = 63305,
    fractions: Sequence[float] = (0.0625, 0.25, 1.0),
    dim: int = 512,
    size: int = 7,
    dtype: Literal["float32", "float16", "bfloat16"] = "float16",
    dir: str | None = None,  # noqa: A002 - the option's name
    keep: bool = False,
    pixels: int = 4096,
    shuffle_megabytes: int = 512,
    epochs: int = 3,
    steps: int | None = None,
    dissected: int | None = None,
    threads: int | None = None,
    json: str | None = None,
) -> None:
    """Print time per pixel and peak memory of training and of a dissection, by size.

    Args:
        images: of the whole data set; Broden has 63,305.
        fractions: sizes to measure, as shares of it.
        dim: D; 64, 128, 256, 512, 1024 or 2048.
        size: H and W.
        dtype: of the feature cache.
        dir: folder to generate in, 3.3 GB for Broden's size; that of temporary files by default.
        keep: whether to keep what was generated, to be used again.
        pixels: of a step.
        shuffle_megabytes: see `FeatureDataModule`.
        epochs: to time.
        steps: of an epoch; all by default.
        dissected: images of each split to dissect; all by default, which takes long.
        threads: torch's threads, all cores by default.
        json: file to write.
    """
    options = {name: value for name, value in locals().items() if name not in ("dir", "keep", "json")}
    backbone, layer, stride = LAYERS[dim]
    network = {"backbone": backbone, "weights": None, "layer": layer, "image_size": size * stride}
    results: list[tuple[str, int, Result]] = []
    for count in sorted(round(images * fraction) for fraction in fractions):
        folder = Path(dir or tempfile.gettempdir()) / f"uibe-scale-{count}-{dim}-{size}-{dtype}"
        job = Job(folder, network, dtype, pixels, shuffle_megabytes, epochs, steps, dissected, threads)
        try:
            generate(folder, count, dim, size, dtype)
            results += [("training", count, _apart(train, job)), ("dissection", count, _apart(dissect, job))]
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
    use_threads(threads)
    largest = {work: result for work, _, result in results}
    rows = [_row(work, count, result, largest[work]) for work, count, result in results]
    finish("scale", sorted(rows, key=lambda row: row["work"]), options, json)


def train(job: Job) -> Result:
    """Fit a basis; time every epoch."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    module, clock = BasisModule(**job.network), Clock()
    trainer = Trainer(
        max_epochs=job.epochs,
        limit_train_batches=job.steps or 1.0,
        devices=1,
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    start = time.perf_counter()
    data = Generated(job)
    trainer.fit(module, data)
    module.basis.save(job.folder / "basis.safetensors")
    expected = min(trainer.num_training_batches * job.pixels, data.features.num_pixels("train"))
    if clock.pixels != expected:
        raise RuntimeError(f"an epoch had {clock.pixels} pixels, expected {expected}")
    return Result(clock.pixels, clock.seconds, clock.first - start, _peak())


def dissect(job: Job) -> Result:
    """Dissect the fitted basis under its own thresholds and under a quantile."""
    start = time.perf_counter()
    store = open_store(job.folder, Backbone(**job.network), job.dtype, job.dissected)
    basis = InterpretableBasis.load(job.folder / "basis.safetensors")
    opened = time.perf_counter()
    found = evaluate(basis.detectors(), store, EvaluationProtocol(quantile=QUANTILE, natural=False))
    seconds = time.perf_counter() - opened
    rate = float(found["quantile"].firing_rate.max())
    if not 0 < rate <= QUANTILE:
        raise RuntimeError(f"a quantile detector fires on {rate} of the pixels, expected at most {QUANTILE}")
    return Result(store.num_pixels("train") + store.num_pixels("val"), [seconds], opened - start, _peak())


class Generated(FeatureDataModule):
    """What `generate` wrote."""

    def __init__(self, job: Job) -> None:
        super().__init__(
            pixels_per_batch=job.pixels, cache_dtype=job.dtype, shuffle_megabytes=job.shuffle_megabytes
        )
        self.job = job

    def open(self, backbone: Backbone) -> FeatureStore:
        """The generated cache and labels."""
        self._store = open_store(self.job.folder, backbone, self.job.dtype)
        return self._store


class Clock(Callback):
    """Seconds of every epoch, and its pixels."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.first = self.start = 0.0
        self.pixels = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.pixels, self.start = 0, time.perf_counter()
        self.first = self.first or self.start

    def on_train_batch_end(self, *hook: Any, **also: Any) -> None:  # noqa: ANN401 - the batch is of interest
        """Count pixels."""
        self.pixels += len(hook[3])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.start)


def _apart(work: Callable[[Job], Result], job: Job) -> Result:
    """Run in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_work, work, job).result()


def _work(work: Callable[[Job], Result], job: Job) -> Result:
    use_threads(job.threads)
    return work(job)


def _peak() -> float:
    """Largest resident memory of this process so far, megabytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage counts what the parent had when it started this process
        (line,) = (each for each in status.read_text(encoding="utf-8").splitlines() if "VmHWM" in each)
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _row(work: str, images: int, result: Result, largest: Result) -> dict[str, Any]:
    per_pixel = [1e6 * each / result.pixels for each in result.seconds]
    last = 1e6 * statistics.median(largest.seconds) / largest.pixels
    return {
        "work": work,
        "images": images,
        "pixels": result.pixels,
        "microseconds_a_pixel": spread(per_pixel),
        "of_largest": statistics.median(per_pixel) / last,
        "peak_megabytes": result.megabytes,
        "setup_seconds": result.setup,
    }


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
