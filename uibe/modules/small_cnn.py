"""A small plain CNN whose last convolution is spatial enough to look for concepts in."""

from torch import Tensor, nn

__all__ = ["SmallCNN", "small_cnn"]

_WIDTHS = (32, 48, 64, 64, 64)
_STRIDES = (2, 2, 2, 1, 1)


class SmallCNN(nn.Module):
    """Five stages of convolution, batch norm and ReLU, then global average pooling and a linear layer.

    For images of 96 x 96 the layers of interest by dotted name are `features.2`, `features.3` and
    `features.4` (the last), each of 64 channels at 12 x 12, not negative. After the last one only the
    mean over positions and `classifier` follow, so logits are linear in its features. A position of it
    sees 47 x 47 pixels.

    Args:
        num_classes: number of logits; one per class of a multi-label task.

    Example:
        >>> import torch
        >>> model = SmallCNN(num_classes=3).eval()
        >>> images = torch.zeros(2, 3, 96, 96)
        >>> model.features(images).shape, model(images).shape
        (torch.Size([2, 64, 12, 12]), torch.Size([2, 3]))
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        inputs = (3, *_WIDTHS[:-1])
        stages = map(_stage, inputs, _WIDTHS, _STRIDES)
        self.features = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(_WIDTHS[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of normalized images (N, 3, height, width)."""
        logits: Tensor = self.classifier(self.pool(self.features(images)))
        return logits


def small_cnn(num_classes: int = 51) -> SmallCNN:
    """A small CNN with random weights.

    The weights in `uibe/assets/small_cnn.safetensors` fit it; their metadata holds, as JSON,
    `class_names`, `mean`, `std` (of RGB from 0 to 1) and `input_size` (height, width).

    Args:
        num_classes: number of logits; by default as many as the shipped weights have: the objects,
            scenes and textures of the synthetic data set (without `wall` and `window`, which are
            more often parts there).

    Example:
        >>> sum(p.numel() for p in small_cnn().parameters())
        119923
    """
    return SmallCNN(num_classes)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Convolution 3 x 3, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
