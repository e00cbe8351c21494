"""From a picture to a network's input, the same for every image of a data set; no batching, no files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError

__all__ = ["IMAGENET", "Preprocessing", "override", "with_metadata"]


_LARGEST = 2**14  # pixels a side


@dataclass(frozen=True)
class Preprocessing:
    """Resize the whole picture, scale its values to `input_range`, then standardize each channel.

    The picture is resized to `size` whole, not cropped at its centre as classifiers usually do: masks
    of the same picture must stay aligned with it up to the edges. Its aspect ratio may change.

    Attributes:
        size: height and width of the network's input, pixels.
        mean: subtracted from each of the three channels, in units of `input_range`.
        std: divisor of each channel, positive.
        input_range: what the pixel values 0 and 255 become before standardization.

    Raises:
        ConfigError: if a value cannot be used; the message names the option.

    Example:
        >>> preprocessing = Preprocessing(size=(2, 4), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> image = preprocessing(Image.new("RGB", (8, 8), "white"))
        >>> image.shape, image.unique()
        (torch.Size([3, 2, 4]), tensor([1.]))
        >>> preprocessing.undo(image).unique()
        tensor([1.])
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Refuse values that no network could use."""
        if len(self.size) != 2 or min(self.size) < 1 or max(self.size) > _LARGEST:
            raise ConfigError(
                f"image_size: expected one or two positive integers up to {_LARGEST}, got {list(self.size)}"
            )
        if len(self.mean) != 3:
            raise ConfigError(f"mean: expected three numbers, got {list(self.mean)}")
        if len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(f"std: expected three positive numbers, got {list(self.std)}")
        if len(self.input_range) != 2 or self.input_range[0] >= self.input_range[1]:
            got = list(self.input_range)
            raise ConfigError(f"input_range: expected [low, high] with low < high, got {got}")

    def __call__(self, image: Image.Image) -> Tensor:
        """Turn a picture of any mode and size into the network's input.

        Args:
            image: a PIL image; converted to RGB.

        Returns:
            float32 tensor of shape `(3, h, w)` with `(h, w) == size`.
        """
        return self.standardize(self.resize(image)[None])[0].contiguous()

    def resize(self, image: Image.Image) -> Tensor:
        """Turn a picture of any mode and size into the bytes of the network's input.

        Args:
            image: a PIL image; converted to RGB.

        Returns:
            uint8 tensor of shape `(h, w, 3)` with `(h, w) == size`.
        """
        height, width = self.size
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        # PIL's bilinear filter widens with the reduction, that is, it antialiases
        return torch.from_numpy(np.array(rgb.resize((width, height), Image.Resampling.BILINEAR)))

    def standardize(self, pictures: Tensor) -> Tensor:
        """Turn resized pictures into the network's input, where they are.

        Scaling and standardization are one subtraction and one division per value.

        Args:
            pictures: uint8 of shape `(N, h, w, 3)`, see `resize`.

        Returns:
            float32 tensor of shape `(N, 3, h, w)` in channels-last memory.

        Example:
            >>> halves = Preprocessing(size=(1, 1), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
            >>> halves.standardize(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)).flatten()
            tensor([-1.0000, -0.6000,  1.0000])
        """
        low, high = self.input_range
        steps = 255 / (high - low)
        # whole rows of pictures, as a loop over three channels would be slow
        width = pictures.shape[2]
        centre = torch.tensor([(mean - low) * steps for mean in self.mean] * width, device=pictures.device)
        spread = torch.tensor([std * steps for std in self.std] * width, device=pictures.device)
        values = pictures.flatten(2).float().sub_(centre).div_(spread)
        return values.view(pictures.shape).permute(0, 3, 1, 2)

    def undo(self, image: Tensor) -> Tensor:
        """Turn a network's input back into a picture to be shown.

        Args:
            image: tensor of shape `(..., 3, h, w)` as this preprocessing makes it.

        Returns:
            Tensor of the same shape and dtype, values in 0..1.
        """
        low, high = self.input_range
        values = image * _channels(self.std).to(image) + _channels(self.mean).to(image)
        return ((values - low) / (high - low)).clamp(0, 1)

    def describe(self) -> dict[str, list[float] | str]:
        """Say all that determines the input, as plain values for the key of a cache.

        Returns:
            A dict that JSON can hold; equal for equal preprocessing only.
        """
        return {
            "size": list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
            "input_range": list(self.input_range),
            "resize": "whole image, bilinear, antialiased",
        }


IMAGENET = Preprocessing(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What networks trained on ImageNet or Places365 by torchvision's recipe expect."""


def override(
    preprocessing: Preprocessing,
    image_size: int | list[int] | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    input_range: list[float] | None = None,
) -> Preprocessing:
    """Replace those values that the user gave.

    Args:
        preprocessing: the defaults.
        image_size: side of a square, or `[height, width]`, pixels.
        mean: three numbers.
        std: three positive numbers.
        input_range: `[low, high]`.

    Returns:
        The defaults with every value that is not None put in its place.

    Raises:
        ConfigError: if a value cannot be used; the message names the option.

    Example:
        >>> override(IMAGENET, image_size=96).size
        (96, 96)
    """
    size = [image_size, image_size] if isinstance(image_size, int) else image_size
    given = {"mean": mean, "std": std, "input_range": input_range}
    # floats throughout, so that `[0, 1]` and `[0.0, 1.0]` are described alike
    changes: dict[str, Any] = {
        key: tuple(map(float, value)) for key, value in given.items() if value is not None
    }
    if size is not None:
        changes["size"] = tuple(size)
    return replace(preprocessing, **changes)


def with_metadata(preprocessing: Preprocessing, metadata: Mapping[str, str], source: str) -> Preprocessing:
    """Replace those values that a weights file carries with it.

    Args:
        preprocessing: the defaults.
        metadata: strings by name as safetensors keeps them; `mean`, `std` and `input_size` (`[h, w]`
            or `[3, h, w]`) are read as JSON lists, other names are ignored.
        source: the file, for messages.

    Returns:
        The defaults with every value found put in its place.

    Raises:
        ConfigError: if a value is no JSON list of numbers of the right length.

    Example:
        >>> with_metadata(IMAGENET, {"input_size": "[3, 96, 64]"}, "small.safetensors").size
        (96, 64)
    """
    try:
        lists = {key: json.loads(metadata[key]) for key in ("mean", "std", "input_size") if key in metadata}
        size = [int(value) for value in lists["input_size"][-2:]] if "input_size" in lists else None
        return override(preprocessing, size, lists.get("mean"), lists.get("std"))
    except (ValueError, TypeError, KeyError) as error:  # ConfigError is a ValueError
        raise ConfigError(f"weights {source}: metadata of the input cannot be used: {error}") from error


def _channels(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)
