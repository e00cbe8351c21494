"""Wiring of data sets, feature caches and loaders."""

from datamodules.broden import BrodenDataModule
from datamodules.features import FeatureDataModule
from datamodules.images import ImageFolderDataModule
from datamodules.streaming import StreamingBrodenDataModule
from datamodules.synthetic import SyntheticDataModule

__all__ = [
    "BrodenDataModule",
    "FeatureDataModule",
    "ImageFolderDataModule",
    "StreamingBrodenDataModule",
    "SyntheticDataModule",
]
