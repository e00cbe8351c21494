"""Data sets in Broden's format on disk."""

import logging
from pathlib import Path
from typing import Any, Literal

from datamodules.features import FeatureDataModule
from uibe.data.broden import BrodenDataset, image_fingerprint, verify
from uibe.data.groups import check_group_by
from uibe.data.index import BrodenIndex
from uibe.data.published import RELEASES, download_broden
from uibe.errors import DataError
from uibe.modules.backbone import Backbone

__all__ = ["BrodenDataModule"]

_log = logging.getLogger(__name__)


class BrodenDataModule(FeatureDataModule):
    """A folder with `index.csv`, `label.csv`, `category.csv` and `images/` (method.md section 10).

    Args:
        root: the folder.
        categories: use only these of the folder's categories; all by default.
        damaged: `refuse` ends at the first damaged image or mask, `skip` leaves such rows out and says so.
        download: if there is no `index.csv` in the folder, fetch the published release with images of so many
            pixels a side and unpack it there.
        url: fetch this zip file instead of a published one.
        group_by: regular expression that is searched in each image's path as in index.csv. Images in which
            its first group, or the whole match if it has none, finds the same are drawn together by the
            bootstrap behind intervals, as the frames of a film should be; others by themselves, as all are
            without it.
        **options: see `FeatureDataModule`.

    Raises:
        ConfigError: if `group_by` is no regular expression.
        DataError: when prepared or opened, if a file is missing or damaged or cannot be fetched, or
            `group_by` matches no validation image.
    """

    def __init__(
        self,
        root: str,
        categories: list[str] | None = None,
        damaged: Literal["refuse", "skip"] = "refuse",
        download: Literal[224, 227, 384] | None = None,
        url: str | None = None,
        group_by: str | None = None,
        **options: Any,  # noqa: ANN401 - the base class declares and checks them
    ) -> None:
        super().__init__(**options)
        check_group_by(group_by)

    def prepare_data(self) -> None:
        """Fetch the data where that was asked for; otherwise say what to do if it is not there."""
        options = self.hparams
        url = options.url or RELEASES.get(options.download)
        if url is not None:
            download_broden(url, options.root, progress=True)
        elif not (Path(options.root) / "index.csv").is_file():
            try:
                BrodenIndex.read(options.root)
            except DataError as error:
                raise DataError(
                    f"{error}; or fetch Broden there: train.py fit --data.download 224"
                ) from error

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
