"""Tallies as metrics, which add up, and the pass over a split that fills them for several sets at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from uibe.functional.detectors import Detectors, is_natural, projection_maps
from uibe.functional.label_counts import LabelCounts, Labels, label_counts, table_scratch
from uibe.functional.tally import Tally, Union, empty_tally, iou, tally_batch
from uibe.functional.threads import in_threads

__all__ = [
    "Concepts",
    "Counter",
    "Counts",
    "DissectionTally",
    "LabelledFeatures",
    "count_split",
    "tally_split",
]

_IMAGES = 32  # to count at once: their tables and what lies between stay in the processor's cache


class Concepts(Protocol):
    """What is known of the concepts: `names` of the C concepts, `category` (C,) of each, K `categories`."""

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102 - described above
    @property
    def category(self) -> Tensor: ...  # noqa: D102
    @property
    def categories(self) -> Sequence[str]: ...  # noqa: D102


class LabelledFeatures(Protocol):
    """Features and labels of the splits `train` and `val`, readable any number of times.

    In a distributed run each process reads its own images, one after the other, and the counts are summed.
    """

    @property
    def concepts(self) -> Concepts:
        """The concepts that the labels name."""

    def num_pixels(self, split: str) -> int:
        """Number of feature pixels of a split, over all processes."""

    def num_images(self, split: str) -> int:
        """Number of images of a split, over all processes."""

    def first_image(self, split: str) -> int:
        """How many images of a split come before those of this process."""

    def groups(self, split: str) -> Tensor:
        """`(N,)` int64 group of each image of a split, over all processes, numbered from 0.

        A bootstrap draws the images of a group together; independent images are groups of their own.
        """

    def feature_batches(self, split: str) -> Iterable[Tensor]:
        """`(N, D, H, W)` batches."""

    def labelled_batches(self, split: str) -> Iterable[tuple[Tensor, Sequence[Labels]]]:
        """`(N, D, H, W)` batches with the labels of their images."""


class Counts(NamedTuple):
    """What a `DissectionTally` counts, int64: a `Tally`, and the feature pixels seen and fired at.

    Attributes:
        intersections: `(I, C)`, see `uibe.functional.tally.Tally`.
        activated: `(I, K)`.
        labelled: `(C,)`.
        fired: `(I,)` feature pixels at which each detector fires.
        num_pixels: `()` feature pixels seen.
    """

    intersections: Tensor
    activated: Tensor
    labelled: Tensor
    fired: Tensor
    num_pixels: Tensor

    def iou(self, categories: Tensor) -> Tensor:
        """IoU of every detector and concept, `(I, C)` float64."""
        return iou(Tally(self.intersections, self.activated, self.labelled), categories)

    def firing_rate(self) -> Tensor:
        """Share of feature pixels at which each detector fires, `(I,)` float64."""
        return self.fired.double() / self.num_pixels.clamp(min=1)


class DissectionTally(Metric):
    """Counts of one set of detectors over one split; int64 sums, so any division of the images will do.

    Args:
        detectors: I.
        categories: `(C,)` int64, the category of each concept.
        num_categories: K.
        union: `annotated` or `netdissect-lite`, see `uibe.functional.tally.tally_batch`.

    Example:
        >>> from types import SimpleNamespace
        >>> tally = DissectionTally(1, categories=torch.tensor([0]), num_categories=1)
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> [labels] = label_counts([sky])
        >>> tally.update(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([1.0]), labels)
        >>> tally.counts().iou(tally.categories).tolist(), tally.counts().firing_rate().tolist()
        ([[1.0]], [0.5])
    """

    full_state_update = False
    intersections: Tensor
    activated: Tensor
    labelled: Tensor
    fired: Tensor
    num_pixels: Tensor

    def __init__(
        self, detectors: int, categories: Tensor, num_categories: int, union: Union = "annotated"
    ) -> None:
        super().__init__(compute_with_cache=False)
        self.categories = categories
        self.union: Union = union
        tally = empty_tally(detectors, len(categories), num_categories)
        start = Counts(*tally, torch.zeros(detectors, dtype=torch.int64), torch.tensor(0))
        self._shapes = [counts.shape for counts in start]
        for name, counts in start._asdict().items():
            self.add_state(name, counts, dist_reduce_fx="sum")

    def update(self, maps: Tensor, thresholds: Tensor, labels: LabelCounts, first: int = 0) -> None:
        """Add images: `(n, I, H, W)` projections, `(I,)` thresholds, labels of the n images."""
        tally = Tally(self.intersections, self.activated, self.labelled)
        tally_batch(tally, maps, thresholds, labels, self.categories, self.union)
        self.fired += (maps > thresholds[:, None, None]).sum((0, 2, 3))
        self.num_pixels += maps[:, 0].numel()

    def compute(self) -> Counts:
        """The counts over all images and processes; `counts` gives them in their full shapes."""
        return Counts(self.intersections, self.activated, self.labelled, self.fired, self.num_pixels)

    def counts(self) -> Counts:
        """As `compute`, in full shapes: torchmetrics squeezes every tensor of one entry."""
        return Counts(
            *(count.reshape(shape) for count, shape in zip(self.compute(), self._shapes, strict=True))
        )


class Counter(Protocol):
    """A metric that counts images for one set of detectors."""

    def update(self, maps: Tensor, thresholds: Tensor, labels: LabelCounts, first: int = 0) -> None:
        """Add images: `(n, I, H, W)` projections, `(I,)` thresholds, labels, how many images came before."""

    def merge_state(self, other: Any) -> None:  # noqa: ANN401 - of the same kind
        """Add what another one counted."""


AnyCounter = TypeVar("AnyCounter", bound=Counter)


def tally_split(
    detectors: Mapping[str, Detectors], data: LabelledFeatures, split: str, union: Union = "annotated"
) -> dict[str, DissectionTally]:
    """Count sets of detectors over a split, in one pass over its labels.

    Args:
        detectors: sets of detectors in raw feature space, by name.
        data: features and labels.
        split: its name.
        union: rule for a detector's area.
    """
    concepts = data.concepts

    def make(name: str) -> DissectionTally:
        thresholds = detectors[name].thresholds
        categories, num_categories = concepts.category.to(thresholds.device), len(concepts.categories)
        return DissectionTally(len(thresholds), categories, num_categories, union).to(thresholds.device)

    return count_split(detectors, data, split, make)


def count_split(
    detectors: Mapping[str, Detectors],
    data: LabelledFeatures,
    split: str,
    make: Callable[[str], AnyCounter],
) -> dict[str, AnyCounter]:
    """Count sets of detectors over a split with any counter, in one pass over its labels.

    On a CPU every one of torch's threads counts images of its own: a single image's operations are too small
    to be divided among threads.

    Args:
        detectors: sets of detectors in raw feature space, by name.
        data: features and labels.
        split: its name.
        make: an empty counter for the set of a name.
    """
    device = next(iter(detectors.values())).directions.device
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    workers = [_Worker(detectors, {name: make(name) for name in detectors}) for _ in range(threads)]
    free = deque(workers)

    def count(part: _Part) -> None:
        worker = free.popleft()  # the first one is used in any case, or torchmetrics warns of it
        try:
            worker.count(part)
        finally:
            free.append(worker)

    parts = _parts(data.labelled_batches(split), data.first_image(split))
    for _ in in_threads(count, parts, threads):
        pass
    first, *others = (worker.counters for worker in workers)
    for name, counter in first.items():
        for other in others:
            counter.merge_state(other[name])
    return first


class _Part(NamedTuple):
    """A few images of a split, the number of those before them, their features and labels."""

    first: int
    features: Tensor
    labels: Sequence[Labels]


class _Worker(Generic[AnyCounter]):
    """Counters of several sets, for one thread at a time."""

    def __init__(self, detectors: Mapping[str, Detectors], counters: dict[str, AnyCounter]) -> None:
        device = next(iter(detectors.values())).directions.device
        self.detectors, self.counters, self.scratch = detectors, counters, table_scratch(device)
        self.natural = {name for name, each in detectors.items() if is_natural(each.directions)}

    def count(self, part: _Part) -> None:
        """Add images; sets with the same directions share their projections."""
        for counts in label_counts(part.labels, self.scratch):
            projected: list[tuple[Tensor, Tensor]] = []
            for name, each in self.detectors.items():
                maps = next((maps for known, maps in projected if known is each.directions), None)
                if maps is None:
                    own = part.features[counts.images]
                    maps = own if name in self.natural else projection_maps(own, each.directions)
                    projected.append((each.directions, maps))
                self.counters[name].update(maps, each.thresholds, counts, part.first)


def _parts(batches: Iterable[tuple[Tensor, Sequence[Labels]]], seen: int) -> Iterator[_Part]:
    for features, labels in batches:
        for start in range(0, len(labels), _IMAGES):
            part = slice(start, start + _IMAGES)
            yield _Part(seen + start, features[part], labels[part])
        seen += len(labels)
