"""Pictures of the strongest detectors in TensorBoard."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from callbacks.dissection import DissectionCallback
from callbacks.surroundings import board, find
from uibe.errors import ConfigError
from uibe.functional.detectors import Detectors
from uibe.metrics.dissection import Dissection
from uibe.report.distinct import distinct_images
from uibe.report.examples import strongest_of_each_label
from uibe.report.figures import detector_caption, detector_figure

__all__ = ["FiguresCallback"]


class FiguresCallback(Callback):
    """For the strongest detectors, their top validation images with the mask outlined, at the end of the fit.

    Near duplicates of stronger images are passed over, by the report's rule (`uibe.report.distinct`).

    Args:
        detectors: number of detectors; 0 for no pictures.
        images: images of each.

    Raises:
        ConfigError: if a number is negative.
    """

    def __init__(self, detectors: int = 12, images: int = 6) -> None:
        if detectors < 0 or images < 1:
            raise ConfigError("figures: expected detectors >= 0 and images >= 1")
        self.detectors, self.images = detectors, images

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if there is a dissection to name the detectors and a TensorBoard to show them."""
        writer, dissection = board(trainer), find(trainer, DissectionCallback)
        if self.detectors and writer and dissection is not None and dissection.detectors is not None:
            name, result = next(iter(dissection.latest.items()))
            self._draw(trainer, writer, dissection.detectors, result, name)

    def _draw(
        self, trainer: Trainer, writer: SummaryWriter, learned: Detectors, result: Dissection, policy: str
    ) -> None:
        data = trainer.datamodule.features  # type: ignore[attr-defined]
        strongest = strongest_of_each_label(result)[: self.detectors]
        directions, thresholds = learned.directions[strongest], result.thresholds[strongest]
        rows = data.rows("val")

        def image(position: int) -> Any:  # noqa: ANN401 - Pillow's, which no callback needs to know
            return data.image(rows[position])

        examples = distinct_images(data.feature_batches("val"), directions, thresholds, self.images, image)
        for rank, detector in enumerate(strongest.tolist()):
            images = [image(position) for position in examples.positions[rank].tolist()]
            concept = data.concepts.names[int(result.labels[detector])]
            caption = detector_caption(result, data.concepts.names, detector)
            figure = detector_figure(images, examples.maps[rank], float(result.thresholds[detector]), caption)
            tag = f"detectors/{rank:02d} {concept} ({policy} threshold)"
            writer.add_figure(tag, figure, trainer.global_step)
