"""Pictures of the strongest detectors in TensorBoard."""

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from callbacks.dissection import DissectionCallback
from uibe.errors import ConfigError
from uibe.functional.detectors import Detectors
from uibe.metrics.dissection import Dissection
from uibe.report.examples import strongest_images
from uibe.report.figures import detector_figure

__all__ = ["FiguresCallback"]


class FiguresCallback(Callback):
    """For the strongest detectors, their top validation images with the mask outlined, at the end of the fit.

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
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        for call in trainer.callbacks:  # type: ignore[attr-defined]
            drawable = isinstance(call, DissectionCallback) and call.detectors is not None
            if self.detectors and boards and drawable and trainer.is_global_zero:
                name, dissection = next(iter(call.latest.items()))
                self._draw(trainer, boards[0], call.detectors, dissection, name)

    def _draw(
        self, trainer: Trainer, board: TensorBoardLogger, learned: Detectors, result: Dissection, policy: str
    ) -> None:
        data = trainer.datamodule.features  # type: ignore[attr-defined]
        strongest = _strongest_of_each_label(result)[: self.detectors]
        examples = strongest_images(data.feature_batches("val"), learned.directions[strongest], self.images)
        rows = data.rows("val")
        for rank, detector in enumerate(strongest.tolist()):
            images = [data.image(rows[position]) for position in examples.positions[rank].tolist()]
            label = int(result.labels[detector])
            concept = data.concepts.names[label]
            category = result.category_names[int(result.categories[label])]
            figure = detector_figure(
                images,
                examples.maps[rank],
                float(result.thresholds[detector]),
                f"detector {detector}: {concept} ({category}), IoU {float(result.iou_val[detector]):.2f}",
            )
            tag = f"detectors/{rank:02d} {concept} ({policy} threshold)"
            board.experiment.add_figure(tag, figure, trainer.global_step)


def _strongest_of_each_label(result: Dissection) -> torch.Tensor:
    """The best detector of each label first, then the rest; each part in falling order of IoU."""
    order = result.iou_val.argsort(descending=True, stable=True)
    seen: set[int] = set()
    first = [not (label in seen or seen.add(label)) for label in result.labels[order].tolist()]
    leads = torch.tensor(first)
    return torch.cat([order[leads], order[~leads]])
