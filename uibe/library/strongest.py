"""The images in which a detector responds most strongly."""

from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor

from uibe.functional.bilinear import upsample
from uibe.library.named import NamedImages
from uibe.library.results import TopImage
from uibe.report.examples import strongest_images

__all__ = ["top_images"]


def top_images(
    source: NamedImages,
    features: Callable[[list[Image.Image], Sequence[str]], Tensor],
    direction: Tensor,
    threshold: Tensor,
    count: int,
    number: int,
    batch: int = 32,
) -> list[TopImage]:
    """The images with the highest projection on a direction, highest first; read batch by batch.

    Near duplicates are included, where the report passes over them (`uibe.report.distinct`).

    Args:
        source: the images.
        features: `(N, D, H, W)` of N images, given their names too, for messages.
        direction: `(D,)`.
        threshold: shape `()`, above which its detector fires.
        count: fewer if there are fewer.
        number: of the direction, to tell it.
        batch: images to hold at once.

    Example:
        >>> import torch
        >>> from uibe.library.named import named_images
        >>> source = named_images([Image.new("L", (4, 2), value) for value in (50, 200)])
        >>> def brightness(images, names):
        ...     return torch.tensor([float(image.getpixel((0, 0))[0]) for image in images]).view(-1, 1, 1, 1)
        >>> top_images(source, brightness, torch.ones(1), torch.tensor(100.0), 1, number=5)
        [TopImage(1, 4 x 2, direction 5, projection 200.000, fires in 100% of it)]
    """
    batches = (
        features([source.read(n) for n in part], [source.names[n] for n in part])
        for part in (range(len(source.names))[at : at + batch] for at in range(0, len(source.names), batch))
    )
    found = strongest_images(batches, direction[None], count)
    return [
        _top_image(source.names[position], source.read(position), maps, threshold, number)
        for position, maps in zip(found.positions[0].tolist(), found.maps[0], strict=True)
    ]


def _top_image(name: str, image: Image.Image, maps: Tensor, threshold: Tensor, number: int) -> TopImage:
    mask = upsample(maps[None], image.size[::-1])[0] > threshold
    return TopImage(name, image, float(maps.max()), mask.cpu(), number)
