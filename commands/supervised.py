"""The supervised basis of a comparison, fitted on the same features."""

from pytorch_lightning import Trainer

from datamodules import FeatureDataModule
from lightning_modules import SupervisedModule
from lightning_modules.quiet import quiet
from uibe.errors import DataError
from uibe.functional.detectors import Detectors

__all__ = ["fit_supervised"]

_SIZES = ("backbone", "weights", "layer", "image_size", "mean", "std", "input_range")


def fit_supervised(
    options: dict[str, object], datamodule: FeatureDataModule, epochs: int, seed: int
) -> tuple[Detectors, int]:
    """Learn it with the module's defaults; its detectors, and the number of pixels that it learned from.

    Args:
        options: hyper-parameters of a checkpoint, of which the network and the layer are taken.
        datamodule: opened.
        epochs: of the data module's length.
        seed: of the draws.

    Raises:
        DataError: if the data has no labels.
    """
    if not datamodule.features.has_labels:
        raise DataError("--bases supervised: the data has no labels")
    quiet()
    module = SupervisedModule(**{name: options[name] for name in _SIZES}, seed=seed)  # type: ignore[arg-type]
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="auto" if next(datamodule.features.backbone.parameters()).is_cuda else "cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=datamodule)
    return module.basis.detectors(), len(module.pool.pixels)
