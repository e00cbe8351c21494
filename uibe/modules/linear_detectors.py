"""Linear detectors of given concepts: standardization, a direction and a threshold for each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from uibe.errors import ConfigError, MismatchError, printable
from uibe.functional.detectors import Detectors, check_finite, fold, projection_maps
from uibe.functional.moments import Moments
from uibe.modules.standardizer import Standardization, Standardizer
from uibe.modules.tensor_file import checksum, verify_checksum, write_tensors

__all__ = ["LinearDetectors"]

_FORMAT = "uibe-linear-1"
_STORED = ("weights", "standardized_thresholds", "concepts", "mean", "transform")


class LinearDetectors(nn.Module):
    """One logistic detector a concept: `p(concept) = sigmoid(v . z - b)`, z standardized.

    IBD's supervised basis (Zhou et al., ECCV 2018). Their number I is that of the concepts and may be less or
    more than D; it is known when the data is. `v` is free while it is learned; `detectors` gives directions
    of unit norm.

    Args:
        num_features: D.
        num_detectors: I, if it is known.
        standardization: `none`, `zscore` or `whiten`.

    Example:
        >>> detectors = LinearDetectors(8, num_detectors=3)
        >>> detectors(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    concepts: Tensor

    def __init__(
        self, num_features: int, num_detectors: int = 0, standardization: Standardization = "zscore"
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.names: tuple[str, ...] = ()
        self.standardizer = Standardizer(num_features, standardization)
        self.resize(num_detectors)

    def resize(self, num_detectors: int) -> None:
        """Take parameters for I detectors, all at zero."""
        device = self.standardizer.mean.device
        self.weights = nn.Parameter(torch.zeros(num_detectors, self.num_features, device=device))
        self.thresholds = nn.Parameter(torch.zeros(num_detectors, device=device))
        self.register_buffer("concepts", torch.zeros(num_detectors, dtype=torch.int64, device=device))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of raw pixels, `(P, D)` to `(P, I)`."""
        standardized: Tensor = self.standardizer(pixels)
        return standardized @ self.weights.T - self.thresholds

    @torch.no_grad()
    def start(self, moments: Moments, concepts: Tensor, names: Sequence[str], thresholds: Tensor) -> None:
        """Fit the standardization and begin without directions.

        Args:
            moments: of all training pixels; `full=True` for whitening.
            concepts: `(I,)` int64, the concept of each detector.
            names: of the I concepts.
            thresholds: `(I,)` to begin with.

        Raises:
            DataError: if the features are not finite or constant.
        """
        self.standardizer.fit(moments)
        self.resize(len(concepts))
        self.concepts.copy_(concepts)
        self.thresholds.copy_(thresholds)
        self.names = tuple(names)

    @torch.no_grad()
    def detectors(self) -> Detectors:
        """The detectors in raw feature space, of unit norm there, folded in float64.

        A detector that has learned nothing has direction 0.
        """
        mean, transform = self.standardizer.mean.double(), self.standardizer.transform.double()
        folded = fold(Detectors(self.weights.double(), self.thresholds.double()), mean, transform)
        norm = folded.directions.norm(dim=1)
        norm = torch.where(norm > 0, norm, 1.0)
        return Detectors((folded.directions / norm[:, None]).float(), (folded.thresholds / norm).float())

    @torch.no_grad()
    def transform(self, features: Tensor) -> Tensor:
        """Scores in [0, 1] of every detector at every pixel, `(N, D, H, W)` to `(N, I, H, W)`."""
        return torch.sigmoid(self.logit_maps(features))

    @torch.no_grad()
    def logit_maps(self, features: Tensor) -> Tensor:
        """Logits whose sigmoid the scores are, positive where a detector fires; as `transform`."""
        own = Detectors(self.weights, self.thresholds)
        directions, thresholds = fold(own, self.standardizer.mean, self.standardizer.transform)
        return projection_maps(features, directions) - thresholds[:, None, None]

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the detectors as safetensors.

        Tensors `directions (I, D)` and `thresholds (I,)` are in raw feature space: detector i fires at a
        pixel where `directions[i] . x > thresholds[i]`. The rest restores them exactly.

        Args:
            path: the file; written under a temporary name first, so that nothing partial is left.
            metadata: strings to keep beside the tensors; the concepts' names are added.

        Raises:
            DataError: if it cannot be written.
        """
        detectors, path = self.detectors(), Path(path)
        tensors = {
            "directions": detectors.directions,
            "thresholds": detectors.thresholds,
            "weights": self.weights.detach(),
            "standardized_thresholds": self.thresholds.detach(),
            "concepts": self.concepts,
            "mean": self.standardizer.mean,
            "transform": self.standardizer.transform,
        }
        described = {"format": _FORMAT, "standardization": self.standardizer.kind}
        described |= {
            **checksum(tensors, _STORED),
            "concept_names": json.dumps(self.names),
            **(metadata or {}),
        }
        write_tensors(path, tensors, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read detectors that `save` wrote.

        Raises:
            ConfigError: if there is no such file.
            MismatchError: if the file holds no such detectors or is damaged.
        """
        if not Path(path).is_file():
            raise ConfigError(f"{path}: no such file; expected detectors written by `evaluate.py export`")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: check_finite(name, file.get_tensor(name)) for name in _STORED}
            return cls._restore(tensors, metadata)
        except (SafetensorError, LookupError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise MismatchError(f"{path}: expected supervised detectors of this version: {reason}") from error

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Self:
        if metadata.get("format") != _FORMAT:
            raise ValueError(f"format {metadata.get('format')!r} is not {_FORMAT!r}")
        verify_checksum(tensors, metadata)
        kind: Standardization = metadata["standardization"]  # type: ignore[assignment]
        own = cls(tensors["weights"].shape[1], len(tensors["weights"]), kind)
        places = {"standardized_thresholds": "thresholds"}
        places |= {name: f"standardizer.{name}" for name in ("mean", "transform")}
        state = {places.get(name, name): tensor for name, tensor in tensors.items()}
        own.load_state_dict({**state, "standardizer.fitted": torch.tensor(True)})
        own.names = tuple(printable(name) for name in json.loads(metadata["concept_names"]))
        return own
