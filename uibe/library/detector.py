"""Concept detectors on images: the one object that a library user needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self, SupportsIndex

import torch
from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError, DataError, MismatchError
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.describing import concept_table, labelled
from uibe.library.detecting import check_limits, counting, detections, leaders
from uibe.library.explaining import coordinates_of, explain_features
from uibe.library.explanation import Explanation
from uibe.library.folder import write_folder
from uibe.library.hub import upload
from uibe.library.labels import Label
from uibe.library.named import named_images
from uibe.library.naming import concepts_of, direction_number
from uibe.library.pictures import CHANNELS, Images, pictures
from uibe.library.results import Detection, Segmentation, TopImage
from uibe.library.segmenting import segmentation
from uibe.library.strongest import top_images
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

__all__ = ["ConceptDetector"]

_BATCH = 32  # images that run through the backbone at once


class ConceptDetector:
    """A frozen network, the directions of one of its layers, and their labels if known.

    Images are files, PIL images, arrays, tensors or lists of these (see `uibe.library.pictures.pictures`);
    whatever they are, results are a list with an entry for each image.

    Args:
        backbone: the network.
        basis: its directions and thresholds.
        labels: of the I detectors.
        root: images that `top_images` looks at unless told otherwise.

    Attributes:
        coordinates: the directions and their inverse, for explanations.

    Raises:
        MismatchError: if the parts do not fit together.

    Example:
        >>> backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
        >>> detector = ConceptDetector(backbone, InterpretableBasis(backbone.num_features))
        >>> print(detector.summary())  # doctest: +ELLIPSIS
        ConceptDetector(uibe.modules.small_cnn:small_cnn at features.4: 64 directions in 64 channels, ...
        no labels: ...
        >>> image = Image.new("RGB", (120, 80), "green")
        >>> detector.features([image, image]).shape, detector.transform(image).shape
        (torch.Size([2, 64, 12, 12]), torch.Size([1, 64, 12, 12]))
        >>> [found.mask.shape for found in detector.detect(image)[0]][0]
        torch.Size([80, 120])
        >>> detector.segment(image)[0].directions.shape
        torch.Size([80, 120])
        >>> explanation = detector.explain(image, classes=["car"])[0]
        >>> abs(float(explanation.residual[0])) < 1e-5, len(explanation.top(3))
        (True, 3)
        >>> [found.name for found in detector.top_images(5, [image, Image.new("RGB", (9, 9))], count=1)]
        ['0']
        >>> detector.to("cpu").name(5), detector.device
        ('direction 5', device(type='cpu'))
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(path.name for path in detector.save(folder).iterdir())
        ['README.md', 'basis.safetensors', 'config.json']
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
        number, width = self.detectors.directions.shape
        if width != backbone.num_features:
            raise MismatchError(
                f"basis: directions of {width} channels, but layer {backbone.layer!r} has "
                f"{backbone.num_features}; give a basis of this layer"
            )
        if labels is not None and len(labels) != number:
            raise MismatchError(f"labels: expected one for each of {number} directions, got {len(labels)}")

    def __repr__(self) -> str:
        """In a line."""
        number, width = self.detectors.directions.shape
        kind = "supervised" if isinstance(self.basis, LinearDetectors) else "learned"
        where = f"{self.backbone.backbone} at {self.backbone.layer}"
        what = f"{number} directions in {width} channels, {labelled(self.labels, self._learned_names())}"
        return f"ConceptDetector({where}: {what}, {kind} thresholds, on {self.device})"

    def summary(self, count: int = 20) -> str:
        """What it is, and a table of its concepts, those of the highest IoU first; to be printed.

        Args:
            count: rows at most.
        """
        return "\n".join([repr(self), *concept_table(self.labels, count)])

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
        """Label of a direction, the concept that it was learned for, or its number."""
        return self._names()[direction]

    def features(self, images: Images) -> Tensor:
        """The layer's output, `(N, D, H, W)`.

        Raises:
            DataError: if the images are of no known kind, or the layer's output is not finite.
        """
        found = pictures(images)
        parts = [range(len(found))[at : at + _BATCH] for at in range(0, len(found), _BATCH)]
        return torch.cat([self._features([found[n] for n in p], [f"images[{n}]" for n in p]) for p in parts])

    def transform(self, images: Images) -> Tensor:
        """Scores in [0, 1] of every detector at every pixel of the layer, `(N, I, H, W)`.

        Args:
            images: or features, a tensor `(N, D, H, W)` of the layer's D channels, unless D is 1, 3 or 4.

        Raises:
            DataError: if the images are of no known kind.
        """
        num_features = self.backbone.num_features
        fits = isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == num_features
        if isinstance(images, Tensor) and fits and num_features not in CHANNELS:
            if not bool(images.isfinite().all()):
                raise DataError("features: expected finite values, found NaN or infinity")
            return self.basis.transform(images.to(self.device))
        return self.basis.transform(self.features(images))

    def detect(
        self,
        images: Images,
        min_iou: float = INTERPRETABLE_IOU,
        *,
        top: int | None = 10,
        min_score: float = 0.5,
        per_concept: bool = True,
    ) -> list[list[Detection]]:
        """Which concepts are where: detectors that fire in each image, the highest score x IoU first.

        Several detectors may have one label. The one of the highest IoU speaks for all of them: see
        `uibe.library.detecting.leaders`. Without labels, each speaks for itself.

        Args:
            images: of any kind.
            min_iou: detectors of a lower IoU for their label are left out; without labels, none is.
            top: results for an image at most; None for all.
            min_score: lower ones are left out; a detector fires above 0.5.
            per_concept: False for every detector by itself, as the thresholds say.

        Raises:
            ConfigError: if a limit is out of range.
            DataError: if the images are of no known kind.

        Example:
            >>> backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
            >>> labels = [Label("road", "object", 0.3 + 0.01 * place, 0.2, 0.9) for place in range(64)]
            >>> detector = ConceptDetector(backbone, InterpretableBasis(64), labels)
            >>> image = Image.linear_gradient("L")
            >>> [found.name for found in detector.detect(image)[0]]
            ['road (object)']
            >>> len(detector.detect(image, top=3, per_concept=False)[0])
            3
        """
        check_limits(top, min_score)
        kept = self._kept(min_iou)
        kept = leaders(self.labels, kept) if per_concept else kept
        found, names = pictures(images), self._names()
        features = self.features(found)
        scores = self.basis.transform(features).flatten(2).amax(2)
        return [
            detections(image, each, score, self.detectors, kept, names, self.labels, top, min_score)
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
        found, kept, names = pictures(images), self._kept(min_iou), self._names()
        return [
            segmentation(self.basis.transform(features)[0], image.size[::-1], kept, names)
            for n, image in enumerate(found)
            for features in [self._features([image], [f"images[{n}]"])]
        ]

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
        names = concepts_of(self.labels, self._learned_names(), len(self.detectors.thresholds))
        return explain_features(self.backbone, self.coordinates, self.features(images), classes, top, names)

    def top_images(
        self, direction: SupportsIndex | str, images: Images | None = None, count: int = 9
    ) -> list[TopImage]:
        """The images with the highest projection on a direction, highest first, near duplicates included.

        Args:
            direction: its number, or a label such as `road`, of whose detectors the highest IoU counts.
            images: a folder of images, or of a data set in Broden's format, or images; None for the data
                that the basis was learned on.
            count: fewer if there are fewer.

        Raises:
            ConfigError: if there is no such direction or label, or it is ambiguous; if no images are given or
                known, or `count` is less than 1.
            DataError: if images are missing or of no known kind.
        """
        if count < 1:
            raise ConfigError(f"count: expected at least 1, got {count}")
        number = len(self.detectors.thresholds)
        place = direction_number(direction, self.labels, self._learned_names(), number)
        source = named_images(self.root if images is None else images)
        directions, thresholds = self.detectors
        return top_images(source, self._features, directions[place], thresholds[place], count)

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
        return counting(self.labels, len(self.detectors.thresholds), min_iou)

    def _learned_names(self) -> tuple[str, ...]:
        """Concepts that supervised detectors were learned for."""
        return self.basis.names if isinstance(self.basis, LinearDetectors) else ()

    def _names(self) -> tuple[str, ...]:
        if self.labels is not None:
            return tuple(str(label) for label in self.labels)
        return concepts_of(None, self._learned_names(), len(self.detectors.thresholds))
