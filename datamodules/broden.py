"""Data sets in Broden's format on disk."""

import logging
from typing import Any, Literal

from datamodules.features import FeatureDataModule
from uibe.data.broden import BrodenDataset, image_fingerprint, verify
from uibe.data.index import BrodenIndex
from uibe.modules.backbone import Backbone

__all__ = ["BrodenDataModule"]

_log = logging.getLogger(__name__)


class BrodenDataModule(FeatureDataModule):
    """A folder with `index.csv`, `label.csv`, `category.csv` and `images/` (method.md section 10).

    Args:
        root: the folder.
        categories: use only these of the folder's categories; all by default.
        damaged: `refuse` ends at the first damaged image or mask, `skip` leaves such rows out and says so.
        **options: see `FeatureDataModule`.

    Raises:
        DataError: when opened, if a file is missing or damaged.
    """

    def __init__(
        self,
        root: str,
        categories: list[str] | None = None,
        damaged: Literal["refuse", "skip"] = "refuse",
        **options: Any,  # noqa: ANN401 - the base class declares and checks them
    ) -> None:
        super().__init__(**options)

    def images(self, backbone: Backbone) -> tuple[BrodenDataset, str]:
        """All images, verified, with a fingerprint of their content."""
        index = BrodenIndex.read(self.hparams.root, self.hparams.categories)
        for split in ("train", "val"):
            index.split_rows(split)
        index, complaints = verify(index, self.hparams.damaged, progress=True)
        for complaint in complaints:
            _log.warning("skipped: %s", complaint)
        if complaints:
            _log.warning("%d damaged rows of %s were skipped", len(complaints), self.hparams.root)
        return BrodenDataset(index, transform=backbone.preprocessing), image_fingerprint(index)
