"""Concept detectors on images: the one object that a library user needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError, DataError
from uibe.functional.bilinear import upsample
from uibe.functional.detectors import projection_maps
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.explaining import coordinates_of, explain_features
from uibe.library.folder import write_folder
from uibe.library.hub import upload
from uibe.library.labels import Label
from uibe.library.named import named_images
from uibe.library.pictures import Images, pictures
from uibe.library.results import Detection, Explanation, Segmentation, TopImage, boxes
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors
from uibe.report.examples import strongest_images

__all__ = ["ConceptDetector"]

_BATCH = 32  # images that run through the backbone at once


class ConceptDetector:
    """A frozen network, the directions of one of its layers, and their labels if known.

    Images are PIL images, arrays, tensors or lists of these (see `uibe.library.pictures.pictures`); whatever
    they are, results are a list with an entry for each image.

    Args:
        backbone: the network.
        basis: its directions and thresholds.
        labels: of the I detectors.
        root: images that `top_images` looks at unless told otherwise.

    Attributes:
        coordinates: the directions and their inverse, for explanations.

    Example:
        >>> backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
        >>> detector = ConceptDetector(backbone, InterpretableBasis(backbone.num_features))
        >>> image = Image.new("RGB", (120, 80), "green")
        >>> detector.transform(image).shape
        torch.Size([1, 64, 12, 12])
        >>> [found.mask.shape for found in detector.detect(image)[0]][0]
        torch.Size([80, 120])
        >>> explanation = detector.explain(image, classes=["car"])[0]
        >>> abs(float(explanation.residual[0])) < 1e-5
        True
    """

    def __init__(
        self,
        backbone: Backbone,
        basis: InterpretableBasis | LinearDetectors,
        labels: Sequence[Label] | None = None,
        root: str | Path | None = None,
    ) -> None:
        self.backbone, self.basis, self.root = backbone, basis, root
        self.labels = None if labels is None else tuple(labels)
        self.coordinates = coordinates_of(basis)
        self.detectors = basis.detectors()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.backbone.parameters()).device

    def to(self, device: str | torch.device) -> Self:
        """Move it to another device."""
        self.backbone.to(device)
        self.basis.to(device)
        self.coordinates, self.detectors = self.coordinates.to(self.device), self.basis.detectors()
        return self

    def name(self, direction: int) -> str:
        """Label of a direction, or its number."""
        return f"direction {direction}" if self.labels is None else str(self.labels[direction])

    def features(self, images: Images) -> Tensor:
        """The layer's output, `(N, D, H, W)`.

        Raises:
            DataError: if the images are of no known kind, or the layer's output is not finite.
        """
        found = pictures(images)
        names = [f"image {number}" for number in range(len(found))]
        batches = [slice(at, at + _BATCH) for at in range(0, len(found), _BATCH)]
        return torch.cat([self._features(found[batch], names[batch]) for batch in batches])

    def transform(self, images: Images) -> Tensor:
        """Scores in [0, 1] of every detector at every pixel of the layer, `(N, I, H, W)`.

        Args:
            images: or features, a tensor `(N, D, H, W)` of the layer's D channels, unless D is 3.

        Raises:
            DataError: if the images are of no known kind.
        """
        num_features = self.backbone.num_features
        if isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == num_features != 3:
            if not bool(images.isfinite().all()):
                raise DataError("features: expected finite values, found NaN or infinity")
            return self.basis.transform(images.to(self.device))
        return self.basis.transform(self.features(images))

    def detect(self, images: Images, min_iou: float = INTERPRETABLE_IOU) -> list[list[Detection]]:
        """Which concepts are where: detectors that fire in each image, the highest score first.

        Args:
            images: of any kind.
            min_iou: detectors of a lower IoU for their label are left out; without labels, none is.

        Raises:
            DataError: if the images are of no known kind.
        """
        found = pictures(images)
        features = self.features(found)
        scores = self.basis.transform(features).flatten(2).amax(2)
        return [
            self._detect(image, each, score, min_iou)
            for image, each, score in zip(found, features, scores, strict=True)
        ]

    def segment(self, images: Images, min_iou: float = INTERPRETABLE_IOU) -> list[Segmentation]:
        """The detector of the highest score at each pixel of each image, among those that fire there.

        Args:
            images: of any kind.
            min_iou: as in `detect`.

        Raises:
            DataError: if the images are of no known kind.
        """
        found = pictures(images)
        return [self._segment(image, self.features(image), min_iou) for image in found]

    def explain(
        self, images: Images, classes: Sequence[str | int | float] | None = None, top: int = 3
    ) -> list[Explanation]:
        """What each direction adds to the logits of each image.

        Args:
            images: of any kind.
            classes: names or numbers of the classes to explain; None for each image's own highest.
            top: how many those are.

        Raises:
            ConfigError: if a class is unknown, or the network cannot be cut at the layer.
            DataError: if the images are of no known kind.
        """
        return explain_features(self.backbone, self.coordinates, self.features(images), classes, top)

    def top_images(
        self, direction: int, images: str | Path | Images | None = None, count: int = 9
    ) -> list[TopImage]:
        """The images with the highest projection on a direction, highest first.

        Args:
            direction: its number.
            images: a folder of images, or of a data set in Broden's format, or images; None for the data
                that the basis was learned on.
            count: fewer if there are fewer.

        Raises:
            ConfigError: if there is no such direction, or no images are given or known.
            DataError: if images are missing or of no known kind.
        """
        last = len(self.detectors.thresholds) - 1
        if not (isinstance(direction, int) and 0 <= direction <= last):
            raise ConfigError(f"direction: expected a number from 0 to {last}, got {direction!r}")
        source = named_images(self.root if images is None else images)
        batches = (
            self._features([source.read(n) for n in part], [source.names[n] for n in part])
            for part in (
                range(len(source.names))[at : at + _BATCH] for at in range(0, len(source.names), _BATCH)
            )
        )
        found = strongest_images(batches, self.detectors.directions[direction, None], count)
        threshold = self.detectors.thresholds[direction]
        return [
            _top_image(source.names[position], source.read(position), maps, threshold)
            for position, maps in zip(found.positions[0].tolist(), found.maps[0], strict=True)
        ]

    def save(self, folder: str | Path) -> Path:
        """Write a folder for `uibe.load` and for others: tensors, labels, options and a model card.

        Raises:
            DataError: if it cannot be written.
        """
        return write_folder(Path(folder), self.backbone, self.basis, self.labels)

    def push(self, repo_id: str, token: str | None = None, private: bool = False) -> str:
        """Upload the folder that `save` writes to the Hugging Face hub; its address.

        Args:
            repo_id: `user/name`.
            token: None for that of `hf auth login`.
            private: whether only its owner sees it.

        Raises:
            ConfigError: if `huggingface_hub` is not installed, or the upload is refused.
        """
        return upload(self.save, repo_id, token, private)

    def _features(self, images: list[Image.Image], names: Sequence[str]) -> Tensor:
        preprocessing = self.backbone.preprocessing
        inputs = preprocessing.standardize(torch.stack([preprocessing.resize(image) for image in images]))
        return self.backbone.finite_features(inputs.to(next(self.backbone.parameters())), names)

    def _kept(self, min_iou: float) -> list[int]:
        """Detectors that count as concepts."""
        if self.labels is None:
            return list(range(len(self.detectors.thresholds)))
        return [number for number, label in enumerate(self.labels) if label.iou >= min_iou]

    def _detect(
        self, image: Image.Image, features: Tensor, scores: Tensor, min_iou: float
    ) -> list[Detection]:
        kept = self._kept(min_iou)
        maps = projection_maps(features[None], self.detectors.directions[kept])[0]
        fires = maps.flatten(1).amax(1) > self.detectors.thresholds[kept]
        found = []
        for place in fires.nonzero()[:, 0].tolist():
            number = kept[place]
            mask = upsample(maps[place, None], image.size[::-1])[0] > self.detectors.thresholds[number]
            if mask.any():  # a peak between the image's pixels may be missed
                label = None if self.labels is None else self.labels[number]
                found.append(Detection(number, label, float(scores[number]), mask.cpu(), boxes(mask)))
        return sorted(found, key=lambda each: -each.score)

    def _segment(self, image: Image.Image, features: Tensor, min_iou: float) -> Segmentation:
        kept = self._kept(min_iou)
        scores = torch.logit(self.basis.transform(features)[0, kept].double(), eps=1e-12)
        best = torch.zeros(image.size[::-1], dtype=scores.dtype, device=scores.device)
        strongest = torch.full(best.shape, -1, device=best.device)
        for number, each in zip(kept, scores, strict=True):
            if bool((each > 0).any()):
                here = upsample(each[None], image.size[::-1])[0]
                strongest = torch.where(here > best, number, strongest)
                best = torch.maximum(best, here)
        occurring = [number for number in torch.unique(strongest).tolist() if number >= 0]
        return Segmentation(strongest.cpu(), {number: self.name(number) for number in occurring})


def _top_image(name: str, image: Image.Image, maps: Tensor, threshold: Tensor) -> TopImage:
    mask = upsample(maps[None], image.size[::-1])[0] > threshold
    return TopImage(name, image, float(maps.max()), mask.cpu())
