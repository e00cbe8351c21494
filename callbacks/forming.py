"""Pictures of a few detectors over the epochs."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from callbacks.dissection import DissectionCallback
from callbacks.surroundings import board, find, is_last, is_shown
from uibe.errors import ConfigError
from uibe.functional.detectors import Detectors
from uibe.metrics.dissection import Dissection
from uibe.report.examples import strongest_images, strongest_of_each_label
from uibe.report.figures import detector_caption
from uibe.report.sheet import contact_sheet

__all__ = ["FormingCallback"]


class FormingCallback(Callback):
    """Draw the same detectors after every dissection, so that one sees their concepts form.

    They are chosen at the first dissection, the best of each label, and kept in the checkpoint. A picture
    shows the validation images that excite the detector most at that time, near duplicates too;
    `forming/1` is the same detector throughout. From the eighth dissection on pictures become rarer, four
    to a doubling, and the last dissection has its own: 100 dissections give 22 pictures a detector or 23.

    Args:
        detectors: number of detectors; 0 for no pictures.
        images: images of each.

    Raises:
        ConfigError: if a number is negative, or no image is asked for.
    """

    def __init__(self, detectors: int = 6, images: int = 6) -> None:
        if detectors < 0 or images < 1:
            raise ConfigError("forming: expected detectors >= 0 and images >= 1")
        self.detectors, self.images = detectors, images
        self.chosen: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, if this epoch was dissected; each process keeps the choice, one draws."""
        dissection = find(trainer, DissectionCallback)
        if not self.detectors or dissection is None or not dissection.has_done(trainer.current_epoch):
            return
        result = next(iter(dissection.latest.values()))
        self.chosen = self.chosen or strongest_of_each_label(result)[: self.detectors].tolist()
        writer = board(trainer)
        if writer and dissection.detectors and (is_shown(len(dissection.history)) or is_last(trainer)):
            self._draw(trainer, writer, dissection.detectors, result)

    def state_dict(self) -> dict[str, Any]:
        """The chosen detectors."""
        return {"chosen": self.chosen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the chosen detectors of the checkpoint."""
        self.chosen = list(state_dict["chosen"])

    def _draw(self, trainer: Trainer, writer: SummaryWriter, learned: Detectors, result: Dissection) -> None:
        data = trainer.datamodule.features  # type: ignore[attr-defined]
        chosen = torch.tensor(self.chosen[: self.detectors])
        examples = strongest_images(data.feature_batches("val"), learned.directions[chosen], self.images)
        rows = data.rows("val")
        for slot, detector in enumerate(chosen.tolist()):
            images = [data.image(rows[position]) for position in examples.positions[slot].tolist()]
            threshold = float(result.thresholds[detector])
            caption = detector_caption(result, data.concepts.names, detector)
            lines = [f"epoch {trainer.current_epoch}", caption]
            sheet = contact_sheet(images, examples.maps[slot], threshold, lines)
            writer.add_image(f"forming/{slot + 1}", sheet, trainer.global_step)
