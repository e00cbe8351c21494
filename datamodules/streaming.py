"""Data sets in Broden's format as shards, on the disk or behind a URL."""

from typing import Any

from datamodules.features import FeatureDataModule
from uibe.data.broden import BrodenDataset, image_fingerprint
from uibe.data.groups import check_group_by
from uibe.data.index import BrodenIndex
from uibe.data.shards import ShardSource
from uibe.errors import ConfigError
from uibe.modules.backbone import Backbone

__all__ = ["StreamingBrodenDataModule"]


class StreamingBrodenDataModule(FeatureDataModule):
    """Shards that `python -m uibe.data.convert` made of a data set in Broden's format, read in blocks.

    They were verified when they were made, and are not read as a whole to begin with: every file is checked
    when it comes. With the feature cache each image comes once; labels come in every pass over a split as far
    as they do not fit their memory. Features are cached under the same key as those of the folder.

    Args:
        root: folder or URL of the shards.
        categories: use only these of the data set's categories; all by default.
        retries: further attempts for a request that failed, after half a second and then twice as long.
        cache_megabytes: memory for blocks of shards; each of `num_workers` takes as much.
        group_by: regular expression that is searched in each image's path as in index.csv. Images in which
            its first group, or the whole match if it has none, finds the same are drawn together by the
            bootstrap behind intervals, as the frames of a film should be; others by themselves, as all are
            without it.
        **options: see `FeatureDataModule`.

    Raises:
        ConfigError: if a number is out of range, or `group_by` is no regular expression.
        DataError: when opened, if a file cannot be read or is damaged, or `group_by` matches no validation
            image.
    """

    def __init__(
        self,
        root: str,
        categories: list[str] | None = None,
        retries: int = 5,
        cache_megabytes: int = 512,
        group_by: str | None = None,
        **options: Any,  # noqa: ANN401 - the base class declares and checks them
    ) -> None:
        super().__init__(**options)
        check_group_by(group_by)
        for name, bound in {"retries": 0, "cache_megabytes": 1}.items():
            if self.hparams[name] < bound:
                raise ConfigError(f"data.{name}: expected at least {bound}, got {self.hparams[name]}")

    def images(self, backbone: Backbone) -> tuple[BrodenDataset, str]:
        """All images, with the fingerprint that they have in the folder."""
        options = self.hparams
        source = ShardSource(options.root, options.retries, options.cache_megabytes * 2**20)
        index = BrodenIndex.read(source, options.categories)
        for split in ("train", "val"):
            index.split_rows(split)
        return BrodenDataset(index, transform=backbone.preprocessing), image_fingerprint(index)
