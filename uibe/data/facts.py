"""What a data set is, in a few lines for cards and reports: its name, sources, splits and concepts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from uibe.data.broden import BrodenDataset
from uibe.data.images import ImageFolderDataset
from uibe.data.index import LabelTable

__all__ = ["data_facts", "root_name"]

_SHOWN = 6  # sources


def data_facts(
    images: BrodenDataset | ImageFolderDataset, splits: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    """Name of the root folder, where the images come from, sizes of the splits, concepts by category.

    Sources are the folders directly below `images/`, as a data set joined of several has them; they are left
    out where there are none.

    Args:
        images: a data set.
        splits: rows of each split, by name.
    """
    facts = {}
    if isinstance(images, BrodenDataset):
        facts["data"] = root_name(images.index.source.place())
        sources = _sources([row.image for row in images.index.rows])
        facts.update({"sources": sources} if sources else {})
    else:
        facts["data"] = root_name(str(images.root))
    facts["images"] = ", ".join(f"{len(rows):,} {split}" for split, rows in splits.items())
    facts["concepts"] = _concepts(images.index.labels) if isinstance(images, BrodenDataset) else "no labels"
    return facts


def root_name(place: str) -> str:
    """The last part of a path or URL: what leads there, and a password in it, is nobody's business.

    Example:
        >>> root_name("../shared/broden-mini"), root_name("https://me:secret@host/sets/shards/?key=1")
        ('broden-mini', 'shards')
    """
    if "://" in place:
        return PurePosixPath(urlsplit(place).path).name or str(urlsplit(place).hostname)
    return Path(place).resolve().name


def _sources(names: Sequence[str]) -> str:
    folders = Counter(PurePosixPath(name).parts[0] for name in names if len(PurePosixPath(name).parts) > 1)
    found = [f"{folder} ({count:,})" for folder, count in folders.most_common(_SHOWN)]
    more = len(folders) - _SHOWN
    return ", ".join([*found, *([f"{more} more"] if more > 0 else [])])


def _concepts(labels: LabelTable) -> str:
    counts = labels.category.bincount(minlength=len(labels.categories)).tolist()
    parts = [f"{count} {name}" for name, count in zip(labels.categories, counts, strict=True)]
    return f"{len(labels.names):,}: {', '.join(parts)}"
