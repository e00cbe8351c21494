"""The rendered data set, written in Broden's format when it is first asked for."""

from typing import Any

from datamodules.broden import BrodenDataModule
from uibe.data.synthetic import render

__all__ = ["SyntheticDataModule"]


class SyntheticDataModule(BrodenDataModule):
    """Rendered scenes with known masks: needs no download, serves the default run and the tests.

    Args:
        root: folder to render into; a set with the same parameters is used again.
        num_train: images of the train split.
        num_val: images of the validation split.
        render_size: pixels a side of the images.
        mask_size: pixels a side of the label masks.
        render_seed: of the pictures; the order of pixels in training follows `shuffle_seed`.
        passes_per_epoch: as in `FeatureDataModule`; the set is small.
        **options: see `BrodenDataModule`.

    Raises:
        DataError: if `root` holds something else.
    """

    def __init__(
        self,
        root: str = "cache/synthetic",
        num_train: int = 400,
        num_val: int = 200,
        render_size: int = 96,
        mask_size: int = 48,
        render_seed: int = 0,
        passes_per_epoch: int = 4,
        **options: Any,  # noqa: ANN401 - the base classes declare and check them
    ) -> None:
        super().__init__(root, passes_per_epoch=passes_per_epoch, download=None, url=None, **options)

    def prepare_data(self) -> None:
        """Render the set unless it is there."""
        options = self.hparams
        render(
            options.root,
            num_train=options.num_train,
            num_val=options.num_val,
            image_size=options.render_size,
            mask_size=options.mask_size,
            seed=options.render_seed,
            progress=True,
        )
