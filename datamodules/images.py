"""Any folder of images, without labels."""

from typing import Any

from datamodules.features import FeatureDataModule
from uibe.data.images import ImageFolderDataset, image_fingerprint
from uibe.modules.backbone import Backbone

__all__ = ["ImageFolderDataModule"]


class ImageFolderDataModule(FeatureDataModule):
    """Every image below a folder: enough to learn a basis, as UIBE needs no labels.

    Evaluate such a basis with `evaluate.py score --data.root BRODEN`.

    Args:
        root: the folder, searched recursively.
        **options: see `FeatureDataModule`.

    Raises:
        DataError: when opened, if the folder is missing or holds no image.
    """

    def __init__(
        self,
        root: str,
        **options: Any,  # noqa: ANN401 - the base class declares and checks them
    ) -> None:
        super().__init__(**options)

    def images(self, backbone: Backbone) -> tuple[ImageFolderDataset, str]:
        """All images with a fingerprint of their content."""
        images = ImageFolderDataset(self.hparams.root, backbone.preprocessing)
        return images, image_fingerprint(images)
