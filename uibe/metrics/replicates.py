"""The bootstrap over images as a metric: every replicate's counts, streamed in the pass over the split."""

import torch
from torch import Tensor
from torchmetrics import Metric

from uibe.functional.intervals import replicate_iou
from uibe.functional.label_counts import LabelCounts
from uibe.functional.tally import Union, image_counts

__all__ = ["ReplicateTally"]


class ReplicateTally(Metric):
    """Counts of labelled detectors in every replicate of a split, int64.

    The labels stay as the train split gave them: what is drawn again are the images that they are scored on.
    A detector then needs the counts of its own concept only, `(1 + B) I` instead of `(1 + B) I C` numbers.

    Args:
        concepts: `(I,)` int64, each detector's label.
        weights: `(1 + B, N)` uint8, how often each replicate draws each image of the split.
        categories: `(C,)` int64, the category of each concept.
        union: rule for a detector's area, see `uibe.functional.tally.tally_batch`.

    Example:
        >>> from types import SimpleNamespace
        >>> from uibe.functional.label_counts import label_counts
        >>> first, weights = torch.tensor([0]), torch.tensor([[1], [2]], dtype=torch.uint8)
        >>> tally = ReplicateTally(first, weights, categories=first)
        >>> sky = SimpleNamespace(planes=torch.tensor([[[1, 0]]]), concepts=torch.tensor([0]),
        ...                       image_wide=torch.zeros(0).long(), annotated=torch.tensor([True]))
        >>> tally.update(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([1.0]), *label_counts([sky]))
        >>> tally.intersections.tolist(), tally.replicates().tolist()
        ([[1], [2]], [[1.0], [1.0]])
    """

    full_state_update = False
    intersections: Tensor
    activated: Tensor
    labelled: Tensor

    def __init__(
        self, concepts: Tensor, weights: Tensor, categories: Tensor, union: Union = "annotated"
    ) -> None:
        super().__init__(compute_with_cache=False)
        device = concepts.device
        self.concepts, self.weights, self.categories = concepts, weights.to(device), categories.to(device)
        self.union: Union = union
        self._shape = (len(weights), len(concepts))
        for name, size in {
            "intersections": len(concepts),
            "activated": len(concepts),
            "labelled": len(categories),
        }.items():
            empty = torch.zeros(len(weights), size, dtype=torch.int64)
            self.add_state(name, empty, dist_reduce_fx="sum")

    def update(self, maps: Tensor, thresholds: Tensor, labels: LabelCounts, first: int = 0) -> None:
        """Add images: `(n, I, H, W)` projections, `(I,)` thresholds, labels, how many images came before."""
        counts = image_counts(maps, thresholds, labels, self.categories, self.concepts, self.union)
        weights = self.weights[:, first + labels.images].double()
        for state, each in zip((self.intersections, self.activated, self.labelled), counts, strict=True):
            # whole numbers, far below 2^53, so that the order of the sum makes no difference
            state += (weights @ each.double()).long()

    def compute(self) -> Tensor:
        """IoU of every detector for its label in every replicate, `(1 + B, I)` float64; row 0 is the data."""
        return replicate_iou(self.intersections, self.activated, self.labelled, self.concepts)

    def replicates(self) -> Tensor:
        """As `compute`, in its full shape: torchmetrics squeezes a tensor of one entry."""
        iou: Tensor = self.compute()
        return iou.reshape(self._shape)
