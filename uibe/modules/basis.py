"""The interpretable basis: standardization, rotation, a threshold per direction, one margin."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors, check_finite, fold, logits, projection_maps
from uibe.functional.fused import tangent_logits
from uibe.functional.moments import Moments, covariance
from uibe.functional.orthogonal import RotationMap, nearest_rotation, orthogonality_error, random_rotation
from uibe.modules.rotation import STARTS, Rotation, Start
from uibe.modules.standardizer import Standardization, Standardizer
from uibe.modules.tensor_file import checksum, verify_checksum, write_tensors

__all__ = ["InterpretableBasis"]

_TENSORS = (
    "directions",
    "thresholds",
    "rotation",
    "standardized_thresholds",
    "mean",
    "transform",
    "margin",
    "log_margin",
)


class InterpretableBasis(nn.Module):
    """Directions, thresholds and margin of UIBE: `y = sigmoid((w_i . z - b_i) / M)`, z standardized.

    `I = D`, the directions are orthonormal in standardized space (UIBE; method.md section 1). The margin
    is learned through its logarithm, so that it stays positive at any learning rate.

    Args:
        num_features: D.
        standardization: `none`, `zscore` or `whiten`.
        rotation_map: see `uibe.functional.orthogonal.rotation`.
        margin: M at the start, positive.

    Raises:
        ConfigError: if an argument is out of range.

    Example:
        >>> basis = InterpretableBasis(8)
        >>> basis.transform(torch.rand(2, 8, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        num_features: int,
        standardization: Standardization = "zscore",
        rotation_map: RotationMap = "cayley",
        margin: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < margin < math.inf:
            raise ConfigError(f"margin: expected a positive number, got {margin}")
        self.standardizer = Standardizer(num_features, standardization)
        self.rotation = Rotation(num_features, rotation_map)
        self.thresholds = nn.Parameter(torch.zeros(num_features))
        self.log_margin = nn.Parameter(torch.tensor(math.log(margin)))
        self.register_buffer("started", torch.tensor(False))

    started: Tensor

    @property
    def num_features(self) -> int:
        """D."""
        return len(self.thresholds)

    @property
    def margin(self) -> Tensor:
        """M, shape `()`, positive."""
        return self.log_margin.exp()

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of raw pixels, `(P, D)` to `(P, I)`."""
        standardized: Tensor = self.standardizer(pixels)
        return logits(standardized, self.rotation(), self.thresholds, self.margin)

    def tangent(self, pixels: Tensor) -> Tensor:
        """What `forward` gives, with a cheaper gradient, while the rotation is at its base: see `rebase`."""
        rotation = self.rotation
        return tangent_logits(
            self.standardizer(pixels), rotation.generator, rotation.base, self.thresholds, self.margin
        )

    @torch.no_grad()
    def start(self, moments: Moments, start: Start = "identity", seed: int = 0) -> None:
        """Fit the standardization and place the rotation; thresholds follow with `start_thresholds`.

        Args:
            moments: of all training pixels; `full=True` for whitening and for a PCA start.
            start: `identity` is the natural basis, `pca` the principal axes of standardized features.
            seed: of the `random` start.

        Raises:
            ConfigError: if `start` is unknown.
            DataError: if the features are not finite or constant.
        """
        self.standardizer.fit(moments)
        self.rotation.start_from(self._start_directions(moments, start, seed))

    def start_near(self, moments: Moments, directions: Tensor) -> None:
        """Fit the standardization and place the rotation nearest to given directions; thresholds follow.

        Args:
            moments: as in `start`.
            directions: `(I, D)` in raw feature space, at most D; their lengths do not matter.

        Raises:
            DataError: if the features are not finite or constant.
        """
        self.standardizer.fit(moments)
        transform = self.standardizer.transform.double()
        wide = directions.to(transform)
        if transform.ndim == 2:
            standardized = wide @ torch.linalg.pinv(transform)
        else:
            standardized = wide * torch.where(transform > 0, 1 / transform, 0.0)
        standardized = F.normalize(standardized, dim=1)
        self.rotation.start_from(nearest_rotation(standardized).to(self.thresholds))

    def _start_directions(self, moments: Moments, start: Start, seed: int) -> Tensor:
        if start == "identity":
            return torch.eye(self.num_features)
        if start == "random":
            return random_rotation(self.num_features, torch.Generator().manual_seed(seed))
        if start == "pca":
            transform = self.standardizer.transform.double()
            scale = transform if transform.ndim == 2 else transform.diag()
            principal: Tensor = torch.linalg.eigh(scale @ covariance(moments) @ scale)[1]
            return principal.T
        raise ConfigError(f"start: expected one of {', '.join(STARTS)}, got {start!r}")

    @torch.no_grad()
    def start_thresholds(self, thresholds: Tensor) -> None:
        """Set the thresholds, `(I,)` in standardized space, and mark the basis as started."""
        self.thresholds.copy_(thresholds)
        self.started.fill_(True)

    @torch.no_grad()
    def detectors(self) -> Detectors:
        """The detectors in raw feature space, folded in float64."""
        mean, transform = self.standardizer.mean.double(), self.standardizer.transform.double()
        folded = fold(Detectors(self.rotation().double(), self.thresholds.double()), mean, transform)
        return Detectors(folded.directions.float(), folded.thresholds.float())

    @torch.no_grad()
    def transform(self, features: Tensor) -> Tensor:
        """Scores in [0, 1] of every detector at every pixel, `(N, D, H, W)` to `(N, I, H, W)`."""
        return torch.sigmoid(self.logit_maps(features))

    @torch.no_grad()
    def logit_maps(self, features: Tensor) -> Tensor:
        """Logits whose sigmoid the scores are, positive where a detector fires; as `transform`."""
        directions, thresholds = self.detectors()
        return (projection_maps(features, directions) - thresholds[:, None, None]) / self.margin

    @torch.no_grad()
    def orthogonality_error(self) -> Tensor:
        """Largest entry of `|W W^T - I|` in standardized space, shape `()`."""
        return orthogonality_error(self.rotation())

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the basis as safetensors.

        Tensors `directions (I, D)` and `thresholds (I,)` are in raw feature space: detector i fires at a
        pixel where `directions[i] . x > thresholds[i]`. The rest restores the basis exactly: `rotation`,
        `standardized_thresholds`, `mean`, `transform`, `log_margin`; `margin` is its exponential.

        Args:
            path: the file; written under a temporary name first, so that nothing partial is left.
            metadata: strings to keep beside the tensors; `mean`, `sd`, `margin` and the options are added.

        Raises:
            DataError: if it cannot be written.
        """
        detectors, path = self.detectors(), Path(path)
        tensors = {
            "directions": detectors.directions,
            "thresholds": detectors.thresholds,
            "rotation": self.rotation().detach(),
            "standardized_thresholds": self.thresholds.detach(),
            "mean": self.standardizer.mean,
            "transform": self.standardizer.transform,
            "margin": self.margin.detach(),
            "log_margin": self.log_margin.detach(),
        }
        write_tensors(path, tensors, {**self._describe(), **(metadata or {}), **checksum(tensors, _TENSORS)})

    def _describe(self) -> dict[str, str]:
        transform = self.standardizer.transform.double()
        deviation = (
            1 / transform if transform.ndim == 1 else torch.linalg.inv(transform).square().sum(1).sqrt()
        )
        return {
            "format": "uibe-basis-1",
            "standardization": self.standardizer.kind,
            "rotation_map": self.rotation.rotation_map,
            "mean": json.dumps(self.standardizer.mean.tolist()),
            "sd": json.dumps([value if math.isfinite(value) else 0.0 for value in deviation.tolist()]),
            "margin": repr(self.margin.item()),
        }

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a basis that `save` wrote.

        Raises:
            ConfigError: if there is no such file.
            MismatchError: if the file is not such a basis, is damaged, or holds numbers that are not finite.
        """
        tensors, metadata = _read(Path(path))
        try:
            return cls._restore(tensors, metadata)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise MismatchError(f"{path}: contradicts itself ({reason}); export the basis again") from error

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        kind, rotation_map = metadata["standardization"], metadata["rotation_map"]
        verify_checksum(tensors, metadata)
        basis = cls(len(tensors["thresholds"]), kind, rotation_map)
        with torch.no_grad():
            basis.log_margin.copy_(tensors["log_margin"])
            basis.standardizer.mean.copy_(tensors["mean"])
            basis.standardizer.transform.copy_(tensors["transform"])
            basis.standardizer.fitted.fill_(True)
            basis.rotation.start_from(tensors["rotation"])
        basis.start_thresholds(tensors["standardized_thresholds"])
        return basis


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a basis written by `evaluate.py export`")
    try:
        with safe_open(path, "pt") as file:
            metadata = _checked(file.metadata() or {})
            return {name: check_finite(name, file.get_tensor(name)) for name in _TENSORS}, metadata
    except (SafetensorError, KeyError, ValueError) as error:
        raise MismatchError(f"{path}: expected a basis written by `evaluate.py export`: {error}") from error


def _checked(metadata: dict[str, str]) -> dict[str, str]:
    if metadata.get("format") != "uibe-basis-1":
        raise KeyError(f"format {metadata.get('format')!r} is not 'uibe-basis-1'")
    return metadata
