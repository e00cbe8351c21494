"""How good the basis looks without labels, while it is learned."""

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from uibe.errors import ConfigError
from uibe.functional.criteria import Criteria, PixelSums, criteria, pixel_sums
from uibe.functional.detectors import pixels_of
from uibe.functional.processes import global_sum

__all__ = ["CriteriaCallback"]


class CriteriaCallback(Callback):
    """Log label-free figures at the end of epochs, to monitor where nothing is annotated.

    `criteria/information` ranked runs as S2 does better than any other figure on two data sets
    (docs/results.md): it tells dense runs from sparse ones, not good ones from each other.

    Args:
        every_n_epochs: epochs between evaluations, 0 for never.
        images: of the validation split, or of the train split where there is no other.

    Raises:
        ConfigError: if a number is out of range.
    """

    def __init__(self, every_n_epochs: int = 1, images: int = 128) -> None:
        if every_n_epochs < 0 or images < 1:
            raise ConfigError("criteria: expected every_n_epochs >= 0 and images >= 1")
        self.every_n_epochs, self.images = every_n_epochs, images

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, if it is due and the module's basis gives logits."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due:
            for name, value in self._evaluate(trainer, pl_module)._asdict().items():
                pl_module.log(f"criteria/{name}", torch.tensor(value, dtype=torch.float64))

    @torch.no_grad()
    def _evaluate(self, trainer: Trainer, pl_module: LightningModule) -> Criteria:
        data = trainer.datamodule.features.share()  # type: ignore[attr-defined]
        split = "val" if "val" in data.splits else "train"
        seen, parts = data.first_image(split), []
        for features in data.feature_batches(split):
            # a process whose images all come later adds nothing, but takes part in the sum
            own = features[: max(self.images - seen, 0)]
            seen += len(features)
            parts.append(pixel_sums(pl_module.basis(pixels_of(own)).float()))
            if seen >= self.images:
                break
        sums = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
        return criteria(PixelSums(*map(global_sum, sums)))
