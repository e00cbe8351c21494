"""Concept detectors on images: the one object that a library user needs."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self, SupportsIndex

import torch
from PIL import Image
from torch import Tensor

from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.functional.groups import Grouping
from uibe.functional.scores import INTERPRETABLE_IOU
from uibe.library.describing import concept_table, labelled
from uibe.library.detecting import MIN_AREA, check_limits, counting, detections, leaders
from uibe.library.explaining import Classes, coordinates_of, explain_features
from uibe.library.explanation import Explanation
from uibe.library.folder import write_folder
from uibe.library.hub import upload
from uibe.library.labels import Label
from uibe.library.layer import are_features, batches, features_of
from uibe.library.named import named_images
from uibe.library.naming import concepts_of, direction_number
from uibe.library.pictures import Images, pictures
from uibe.library.results import Detection, Segmentation, TopImage
from uibe.library.segmenting import segmentation
from uibe.library.strongest import top_images
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

__all__ = ["ConceptDetector"]


class ConceptDetector:
    """A frozen network, the directions of one of its layers, and their labels if known.

    Images are files, PIL images, arrays, tensors or lists of these (see `uibe.library.pictures.pictures`);
    whatever they are, results are a list with an entry for each image.

    Args:
        backbone: the network.
        basis: its directions and thresholds.
        labels: of the I detectors.
        root: images that `top_images` looks at unless told otherwise.
        grouping: how images were drawn for the labels' intervals, None for each by itself.

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
        >>> detector.detect(image)[0][0].mask.shape, detector.segment(image)[0].directions.shape
        (torch.Size([80, 120]), torch.Size([80, 120]))
        >>> explanation = detector.explain(image, classes=["car"])[0]
        >>> abs(float(explanation.residual[0])) < 1e-5, len(explanation.top(3))
        (True, 3)
        >>> detector.top_images(5, [image, image], count=1)[0].name
        '0'
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
        grouping: Grouping | None = None,
    ) -> None:
        self.backbone, self.basis, self.root, self.grouping = backbone, basis, root, grouping
        self.labels = None if labels is None else tuple(labels)
        self.coordinates, self.detectors = coordinates_of(basis), basis.detectors()
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
        """Move it to another device.

        Raises:
            ConfigError: if there is no such device here.
        """
        try:
            self.backbone.to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
            reason = str(error).splitlines()[0]
            raise ConfigError(f"device: {str(device)!r} cannot be used here ({reason}); try cpu") from error
        self.basis.to(device)
        self.coordinates, self.detectors = self.coordinates.to(self.device), self.basis.detectors()
        return self

    def name(self, direction: int) -> str:
        """Label of a direction, the concept that it was learned for, or its number; an error if unknown."""
        return self._names()[self._number(direction)]

    def features(self, images: Images) -> Tensor:
        """The layer's output, `(N, D, H, W)`.

        Raises:
            DataError: if the images are of no known kind, or the layer's output is not finite.
        """
        return torch.cat(list(batches(self.backbone, pictures(images))))

    def transform(self, images: Images) -> Tensor:
        """Scores in [0, 1] of every detector at every pixel of the layer, `(N, I, H, W)`.

        Args:
            images: or features, a tensor `(N, D, H, W)` of the layer's D channels, unless D is 1, 3 or 4.

        Raises:
            DataError: if the images are of no known kind.
        """
        if are_features(images, self.backbone.num_features):
            return self.basis.transform(images.to(self.device))
        return self.basis.transform(self.features(images))

    def detect(
        self,
        images: Images,
        min_iou: float = INTERPRETABLE_IOU,
        *,
        top: int | None = 10,
        min_score: float = 0.5,
        min_area: float = MIN_AREA,
        per_concept: bool = True,
    ) -> list[list[Detection]]:
        """Which concepts are where: detectors that fire in each image, the highest score x IoU first.

        The detector of the highest IoU speaks for its label (`uibe.library.detecting.leaders`). Masks may
        overlap; `segment` gives each pixel to one. A score of 1.000 is the detector's own confidence at its
        threshold, not a probability that the name is right: of that the IoU beside it speaks.

        Args:
            images: of any kind.
            min_iou: detectors of a lower IoU for their label are left out; without labels, none is.
            top: results for an image at most; None for all.
            min_score: lower ones are left out; a detector fires above 0.5.
            min_area: masks of a smaller share of the image, 0 to 1, are specks and left out.
            per_concept: False for every detector by itself, as the thresholds say.

        Raises:
            ConfigError: if a limit is out of range.
            DataError: if the images are of no known kind.

        Example:
            >>> backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
            >>> labels = [Label("road", "object", 0.3 + 0.01 * place, 0.2, 0.9) for place in range(64)]
            >>> detector = ConceptDetector(backbone, InterpretableBasis(64), labels)
            >>> [found.name for found in detector.detect(Image.linear_gradient("L"))[0]]
            ['road (object)']
        """
        check_limits(min_iou, top, min_score, min_area)
        found, kept, names = pictures(images), self._kept(min_iou, per_concept), self._names()
        return [
            detections(image, logits, kept, names, self.labels, top, min_score, min_area)
            for image, logits in zip(found, self._logits(found), strict=True)
        ]

    def segment(self, images: Images, min_iou: float = INTERPRETABLE_IOU) -> list[Segmentation]:
        """One concept for each pixel: the masks of `detect(images, top=None, min_area=0)` without overlaps.

        A pixel that several of those masks cover goes to the one whose detector lies farthest above its
        threshold. So a region is a part of its concept's mask, and a pixel is left out (-1) where no mask is.

        Args:
            images: of any kind.
            min_iou: as in `detect`.

        Raises:
            ConfigError: if the limit is out of range.
            DataError: if the images are of no known kind.
        """
        check_limits(min_iou)
        found, kept, names = pictures(images), self._kept(min_iou), self._names()
        both = zip(found, self._logits(found), strict=True)
        return [segmentation(logits, image.size[::-1], kept, names) for image, logits in both]

    def explain(self, images: Images, classes: Classes | None = None, top: int = 3) -> list[Explanation]:
        """What each direction adds to the logits of each image.

        Args:
            images: of any kind.
            classes: one or more, of `backbone.class_names` or numbers; None for each image's own highest.
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
        place = self._number(direction)
        source = named_images(self.root if images is None else images)
        one = Detectors(*(tensor[place] for tensor in self.detectors))
        return top_images(source, partial(features_of, self.backbone), *one, count, place)

    def save(self, folder: str | Path) -> Path:
        """Write a folder for `uibe.load` and for others: tensors, labels, options and a model card.

        Raises:
            DataError: if it cannot be written.
        """
        return write_folder(Path(folder), self.backbone, self.basis, self.labels, grouping=self.grouping)

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

    def _logits(self, images: Sequence[Image.Image]) -> Iterator[Tensor]:
        """`(I, H, W)` of each image, positive where a detector fires; the same for `detect` and `segment`."""
        for features in batches(self.backbone, images):
            yield from self.basis.logit_maps(features)

    def _kept(self, min_iou: float, per_concept: bool = True) -> list[int]:
        """Detectors that count as concepts, one for each unless all are asked for."""
        kept = counting(self.labels, len(self.detectors.thresholds), min_iou)
        return leaders(self.labels, kept) if per_concept else kept

    def _number(self, direction: SupportsIndex | str) -> int:
        return direction_number(direction, self.labels, self._learned_names(), len(self.detectors.thresholds))

    def _learned_names(self) -> tuple[str, ...]:
        """Concepts that supervised detectors were learned for."""
        return self.basis.names if isinstance(self.basis, LinearDetectors) else ()

    def _names(self) -> tuple[str, ...]:
        learned = concepts_of(None, self._learned_names(), len(self.detectors.thresholds))
        return learned if self.labels is None else tuple(map(str, self.labels))
