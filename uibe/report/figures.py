"""Pictures of detectors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from uibe.functional.bilinear import upsample
from uibe.metrics.dissection import Dissection
from uibe.report.sprites import faded

__all__ = ["detector_caption", "detector_figure", "plain"]

_OUTLINE = "#ffd400"
_SIZE = 224
_COLUMNS = 3


def detector_figure(images: Sequence[Image.Image], maps: Tensor, threshold: float, caption: str) -> Figure:
    """One detector's images, three in a row, its mask outlined and everything outside it faded.

    Args:
        images: RGB images.
        maps: `(n, h, w)` projections of these images.
        threshold: the detector fires strictly above it.
        caption: title, for instance label, category and IoU.

    Example:
        >>> import torch
        >>> figure = detector_figure([Image.new("RGB", (8, 8))], torch.eye(2)[None], 0.5, "sky (object)")
        >>> len(figure.axes)
        1
    """
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.2 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    masks = (upsample(maps.cpu(), (_SIZE, _SIZE)) > threshold).numpy()
    for axis in axes[len(images) :]:
        axis.remove()
    for axis, image, mask in zip(axes[: len(images)], images, masks, strict=True):
        picture = np.asarray(image.resize((_SIZE, _SIZE)))
        axis.imshow(np.where(mask[..., None], picture, faded(picture)) / 255)
        if mask.any() and not mask.all():
            axis.contour(mask, levels=[0.5], colors=_OUTLINE, linewidths=1.5)
        axis.set_axis_off()
    # TensorBoard shows three images a row at half their size
    figure.suptitle(plain(caption), fontsize=5 * (1 + columns) if columns > 1 else 7, wrap=True)
    return figure


def plain(text: str) -> str:
    r"""Text that matplotlib takes literally.

    Example:
        >>> plain("a $50 note")
        'a \\$50 note'
    """
    return text.replace("$", r"\$")


def detector_caption(result: Dissection, names: Sequence[str], detector: int) -> str:
    """A detector's number, label, category and IoU on validation.

    Args:
        result: of all detectors.
        names: of the concepts.
        detector: its position.
    """
    label = int(result.labels[detector])
    category = result.category_names[int(result.categories[label])]
    return f"detector {detector}: {names[label]} ({category}), IoU {float(result.iou_val[detector]):.2f}"
