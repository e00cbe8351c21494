"""The frozen classifier, cut at one layer into f- (features) and f+ (head)."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from uibe.errors import ConfigError, DataError, MismatchError
from uibe.modules.networks import load_network
from uibe.modules.preprocessing import override
from uibe.modules.split import Split, is_feature_map
from uibe.modules.weights import hash_state

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """A frozen image classifier, `head(features(images)) == forward(images)` up to rounding.

    Parameters never require gradients and the network stays in eval mode, whatever `train` says.

    Args:
        backbone: `torchvision:NAME`, `timm:NAME`, or `package.module:callable` (a dot will do for the
            colon) for anything that returns a module when called without arguments.
        weights: None for random weights, the same ones every time; the library's own name, which is
            downloaded (`DEFAULT`, `IMAGENET1K_V1`; for timm `pretrained` or a tag); a state dict in a
            `.pth`, `.pt`, `.pth.tar` (as Places365 publishes them) or `.safetensors` file; `package:NAME`
            or `package:NAME/FILE` for a file that an installed package carries. The network is built
            with as many classes as the weights have. Names must agree; only a package's weights whose
            names differ are loaded by order, if their number and every shape agree.
        layer: dotted name of any module that gives one `(N, D, H, W)` tensor. If it runs several times
            in one forward pass, as a shared ReLU does, its last call counts.
        image_size: side or `[height, width]` of the input; None for what the weights expect, else 224.
        mean: of each channel; None for what the weights expect, else ImageNet's.
        std: likewise.
        input_range: what black and white become before standardization; None for `[0, 1]`.

    Attributes:
        num_features: D, number of channels at the layer.
        feature_size: (H, W) at the configured image size.
        memory_format: of the images inside `features`: channels-last, in which convolutions are faster,
            unless the network insists on the usual one. It has a say in how features are rounded.
        preprocessing: from a picture to the network's input.
        weights_sha256: hash of the network's weights, independent of the file they came from.
        class_names: names of the outputs in order, None if unknown.

    Raises:
        ConfigError: if an option cannot be honoured.

    Example:
        >>> backbone = Backbone("torchvision:resnet18", layer="layer4", image_size=64)
        >>> features = backbone.features(torch.zeros(2, 3, 64, 64))
        >>> features.shape, backbone.num_features, backbone.feature_size
        (torch.Size([2, 512, 2, 2]), 512, (2, 2))
        >>> backbone.head(features).shape
        torch.Size([2, 1000])
    """

    def __init__(
        self,
        backbone: str,
        weights: str | None = None,
        layer: str = "layer4",
        *,
        image_size: int | list[int] | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        input_range: list[float] | None = None,
    ) -> None:
        super().__init__()
        loaded = load_network(backbone, weights)
        self.backbone, self.weights, self.layer = backbone, weights, layer
        self.preprocessing = override(loaded.preprocessing, image_size, mean, std, input_range)
        self.class_names = loaded.class_names
        self.network = loaded.network.requires_grad_(False).eval()
        self.weights_sha256 = hash_state(self.network.state_dict())
        self._split = Split(self.network, layer, self.preprocessing.size)
        self.num_features, self.feature_size = self._measure()
        self.memory_format = self._find_memory_format()
        self.train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Run the whole network.

        Args:
            images: float, `(N, 3, h, w)`, preprocessed.

        Returns:
            Logits, `(N, K)`.
        """
        logits: Tensor = self.network(images)
        return logits

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Run the network up to the layer, f-, and no further.

        Args:
            images: float, `(N, 3, h, w)`, preprocessed.

        Returns:
            The layer's output `(N, D, H, W)`, as it is before an in-place operation that follows.
        """
        features: Tensor = self._split.lower(images.contiguous(memory_format=self.memory_format))
        return features

    def finite_features(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """As `features`, which a cache would refuse to hold if they were not finite; so does this.

        Args:
            images: float, `(N, 3, h, w)`, preprocessed.
            names: of the N images, for the message.

        Raises:
            DataError: if a value is NaN or infinite; names the first image and channel.
        """
        features = self.features(images)
        if not bool(features.isfinite().all()):
            image, channel, *_ = (~features.isfinite()).nonzero()[0].tolist()
            value = float(features[image, channel][~features[image, channel].isfinite()][0])
            raise DataError(
                f"{names[image]}: layer {self.layer!r} gives {value:g} in channel {channel}, expected finite "
                "values: check the image and the weights"
            )
        return features

    def head(self, features: Tensor) -> Tensor:
        """Run the rest of the network on features alone, f+; gradients flow to the features.

        The first call checks, once, on noise, that it agrees with the whole network.

        Args:
            features: float, `(N, D, H, W)`; not changed.

        Returns:
            Logits, `(N, K)`.

        Raises:
            ConfigError: if a branch of the network goes round the layer.
            ValueError: if the features have another number of dimensions or channels.
        """
        if features.ndim != 4 or features.shape[1] != self.num_features:
            shape = tuple(features.shape)
            raise ValueError(f"features: expected shape (N, {self.num_features}, H, W), got {shape}")
        return self._split.upper(features.contiguous())

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode.

        Args:
            mode: ignored: a frozen network's statistics and dropout must not change while others train.

        Returns:
            The backbone itself.
        """
        return super().train(False)

    def verify_weights(self, expected_sha256: str) -> None:
        """Refuse to go on with other weights than those that something was made with.

        Args:
            expected_sha256: the `weights_sha256` stored with a checkpoint or cache.

        Raises:
            MismatchError: if the weights differ.
        """
        if self.weights_sha256 != expected_sha256:
            raise MismatchError(
                f"backbone {self.backbone!r} with weights {self.weights!r}: weights have sha256 "
                f"{self.weights_sha256[:12]}, expected {expected_sha256[:12]}: set `weights` to those that "
                "the checkpoint or cache was made with"
            )

    def _measure(self) -> tuple[int, tuple[int, int]]:
        height, width = self.preprocessing.size
        parameter = next(self.network.parameters(), torch.zeros(()))
        try:
            with torch.no_grad():
                output = self._split.lower(parameter.new_zeros(1, 3, height, width))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise ConfigError(
                f"backbone {self.backbone!r} does not run on an image of {height} x {width}: set image_size "
                f"({reason})"
            ) from error
        if not is_feature_map(output):
            raise ConfigError(
                f"layer {self.layer!r}: expected an output of one tensor (N, D, H, W), got "
                f"{_describe(output)}: choose an earlier layer, such as a convolutional block"
            )
        return output.shape[1], (output.shape[2], output.shape[3])

    @torch.no_grad()
    def _find_memory_format(self) -> torch.memory_format:
        """Channels-last if the network runs in it: one that calls `view` may not."""
        parameter = next(self.network.parameters(), torch.zeros(()))
        # two, as a single image hides whether batch and channels can be viewed as one
        images = parameter.new_zeros(2, 3, *self.preprocessing.size)
        try:
            self._split.lower(images.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return torch.contiguous_format
        return torch.channels_last


def _describe(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)} for one image"
    return f"a {type(output).__name__}"
