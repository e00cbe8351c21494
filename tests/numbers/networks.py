"""Tiny networks whose layer gives what it should not: `--model.backbone tests.numbers.networks:NAME`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["WIDTH"]

WIDTH = 8
_WHITE = 2.2  # what white is above, standardized with ImageNet's figures


class _Doctored(nn.Module):
    """One convolution, a layer `cut` that changes its output, pooling and a linear layer."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor], width: int = WIDTH) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 4, stride=4)
        self.cut = nn.Identity()
        self.classifier = nn.Linear(width, 3)
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)` of images `(N, 3, h, w)`."""
        # all but white images stay as they are
        white = (images.amin((1, 2, 3)) > _WHITE)[:, None, None, None]
        features = self.cut(self.change(self.convolution(images).relu(), white))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


def plain() -> nn.Module:
    """Nothing is changed."""
    return _Doctored(lambda features, white: features)


def dead() -> nn.Module:
    """Zeros."""
    return _Doctored(lambda features, white: 0 * features)


def alike() -> nn.Module:
    """Every pixel is the same, and not a number that sums exactly."""
    return _Doctored(lambda features, white: 0 * features + _ramp(features) / 3)


def constant_channels() -> nn.Module:
    """The first channel is always 0, the second always 12345.678."""
    return _Doctored(_two_constants)


def outliers() -> nn.Module:
    """One pixel of every image has 1e6 in one channel."""
    return _Doctored(_outlier)


def narrow() -> nn.Module:
    """D = 1."""
    return _Doctored(lambda features, white: features, width=1)


def loud() -> nn.Module:
    """Beyond what float16 holds, within what the others do."""
    return _Doctored(lambda features, white: features * 1e6)


def white_is_nan() -> nn.Module:
    """NaN in one channel at one pixel of white images."""
    return _Doctored(lambda features, white: _spot(features, white, torch.nan))


def white_is_infinite() -> nn.Module:
    """Infinity there."""
    return _Doctored(lambda features, white: _spot(features, white, torch.inf))


def _ramp(features: Tensor) -> Tensor:
    """`1, 2, ...` over the channels."""
    return torch.arange(1.0, features.shape[1] + 1).to(features)[None, :, None, None]


def _two_constants(features: Tensor, white: Tensor) -> Tensor:
    features = features.clone()
    features[:, 0], features[:, 1] = 0.0, 12345.678
    return features


def _outlier(features: Tensor, white: Tensor) -> Tensor:
    features = features.clone()
    features[:, 3, 1, 2] = 1e6
    return features


def _spot(features: Tensor, white: Tensor, value: float) -> Tensor:
    spot = torch.zeros_like(features, dtype=torch.bool)
    spot[:, 5, 2, 3] = True
    return torch.where(spot & white, value, features)
