"""Tables for TensorBoard's embedding projector: detectors as points, with what is known of them."""

from collections.abc import Sequence

from torch import Tensor

from uibe.metrics.dissection import Dissection

__all__ = ["metadata", "response_profiles"]

_COLUMNS = 256


def metadata(
    result: Dissection, names: Sequence[str], shown: Tensor
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads and rows that describe detectors, the label first, as the projector shows the first column.

    Args:
        result: of all I detectors.
        names: of the C concepts.
        shown: `(n,)` int64, the detectors to describe, in this order.
    """
    heads = ["label", "category", "IoU", "firing rate", "detector"]
    return heads, [_describe(result, names, detector) for detector in shown.tolist()]


def response_profiles(responses: Tensor) -> Tensor:
    """Standardize each detector's responses, so that points lie close where detectors like the same images.

    Args:
        responses: `(n, N)`, the largest projection in each of N images.

    Returns:
        `(n, min(N, 256))` of zero mean and unit variance, of evenly spaced images; 0 where all are alike.

    Example:
        >>> import torch
        >>> response_profiles(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist()
        [[-1.0, 1.0], [0.0, 0.0]]
    """
    step = -(-responses.shape[1] // _COLUMNS)
    some = responses[:, ::step]
    centred = some - some.mean(1, keepdim=True)
    return (centred / centred.square().mean(1, keepdim=True).sqrt()).nan_to_num(0.0)


def _describe(result: Dissection, names: Sequence[str], detector: int) -> tuple[str, ...]:
    label = int(result.labels[detector])
    category = result.category_names[int(result.categories[label])]
    iou, rate = float(result.iou_val[detector]), float(result.firing_rate[detector])
    # a tab or a line break in a name would begin another column or row
    texts = (" ".join(text.split()) for text in (names[label], category))
    return (*texts, f"{iou:.4f}", f"{rate:.5f}", str(detector))
