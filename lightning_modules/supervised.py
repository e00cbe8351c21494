"""The LightningModule that learns a supervised basis; mathematics and state live in `uibe`."""

from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam

from lightning_modules.frozen import FrozenModule, checked_record, record
from lightning_modules.numbers import check_divergence, check_trainer
from lightning_modules.options import scheduled
from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import pixels_of
from uibe.functional.moments import Moments
from uibe.functional.processes import global_sums, rank, sizes
from uibe.functional.supervised import Mining, choose_negatives, logistic_loss, prior_thresholds
from uibe.metrics.labelled_pixels import LabelledPixels, gather_pixels, image_frequencies
from uibe.metrics.running import RunningMeans, RunningMoments
from uibe.metrics.tallies import LabelledFeatures
from uibe.modules.backbone import Backbone
from uibe.modules.linear_detectors import LinearDetectors

__all__ = ["SupervisedModule"]

_SCORED = 16  # concepts to score at once: the logits of all pixels take memory


class SupervisedModule(FrozenModule):
    """Learn one logistic detector a concept from the labels of the train split: IBD's supervised basis.

    IBD (Zhou et al., ECCV 2018), method.md section 5: the peer that every basis learned without labels is
    compared with. Pixels and labels of the train split are kept in memory. The data module's pixels carry no
    labels: each of its batches sets the number of labelled pixels of a step, and with `passes_per_epoch` the
    number of steps. In a distributed run the processes share the pixels of a step; each of them keeps all.

    Args:
        backbone: `torchvision:NAME`, `timm:NAME` or an import path to a callable.
        weights: see `uibe.modules.backbone.Backbone`; null for random weights.
        layer: dotted name of the layer to cut at.
        image_size: input size, null for the weights' own.
        mean: of the input channels, null for the weights' own.
        std: of the input channels, null for the weights' own.
        input_range: of the input before mean and std, null for the weights' own.
        standardization: of the features, see `uibe.modules.standardizer`.
        min_frequency: train images in which a concept must have a positive pixel; a rarer one gets no
            detector, nor does one without negatives.
        negatives_per_positive: most negatives a concept; mined again at the start of each epoch.
        hard_negatives: share of the hardest among them, the rest is random; see
            `uibe.functional.supervised.Mining`.
        candidates: size of the random pool that they are the hardest of, in multiples of their number.
        pixels_megabytes: memory for the train pixels; of more, as many are drawn at random. Their labels take
            a byte more for each pixel and concept, twice.
        lr: learning rate of Adam.
        lr_schedule: `cosine` to zero over the run, or `constant`.
        weight_decay: half the squared norm of the weights in standardized space is added to the loss so many
            times; thresholds are free.
        seed: of the draws.

    Raises:
        ConfigError: if an option cannot be honoured.
    """

    def __init__(
        self,
        backbone: str = "uibe.modules.small_cnn:small_cnn",
        weights: str | None = "package:uibe.assets",
        layer: str = "features.4",
        image_size: int | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        input_range: list[float] | None = None,
        standardization: Literal["none", "zscore", "whiten"] = "zscore",
        min_frequency: int = 5,
        negatives_per_positive: int = 20,
        hard_negatives: float = 0.5,
        candidates: float = 4.0,
        pixels_megabytes: int = 4096,
        lr: float = 1e-2,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check_ranges(self.hparams)
        sizes: dict[str, Any] = {
            "image_size": image_size,
            "mean": mean,
            "std": std,
            "input_range": input_range,
        }
        self.backbone = Backbone(backbone, weights, layer, **sizes)
        self.basis = LinearDetectors(self.backbone.num_features, standardization=standardization)
        self.step_means = RunningMeans(["loss/total"])
        self.mining = Mining(negatives_per_positive, hard_negatives, candidates)
        self._broken_off: dict[str, Any] | None = None

    def setup(self, stage: str) -> None:
        """Choose the concepts, gather their pixels, and begin; a checkpoint's tensors come afterwards.

        Raises:
            ConfigError: with gradient accumulation, in half precision, or if no concept is frequent enough.
            DataError: if the data has no labels.
        """
        check_trainer(self.trainer)
        data = self.trainer.datamodule.features  # type: ignore[attr-defined]
        concepts = self._frequent(data)
        limit = self.hparams.pixels_megabytes * 2**20 // (4 * self.basis.num_features)
        self.pool = gather_pixels(data, concepts, limit, self.hparams.seed)
        names = [data.concepts.names[concept] for concept in concepts.tolist()]
        thresholds = prior_thresholds(self.pool.signs, self.mining.per_positive)
        self.basis.start(self._moments(data), concepts, names, thresholds)

    def on_train_start(self) -> None:
        """Take up an epoch that was broken off: mine what its start had mined."""
        if self._broken_off is not None:
            self._mine(self._broken_off["mined_with"].to(self.device))
            self.used = self._broken_off["used"]

    def on_train_epoch_start(self) -> None:
        """Mine negatives and shuffle, by seed and epoch alone, so that a resumed run does the same."""
        self._mine(self.basis.weights.detach().clone())

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The logistic loss of as many labelled pixels as the batch has."""
        height, width = self.backbone.feature_size
        shares = sizes(len(batch) * (height * width if batch.ndim == 4 else 1), self.device)
        size, total, start = shares[rank()], sum(shares), self.used + sum(shares[: rank()])
        rows = self.order[torch.arange(start, start + size) % len(self.order)]
        self.used += total
        pixels, signs, chosen = (part[rows].to(self.device) for part in (*self.pool, self.chosen))
        logits = self.basis(pixels).to(self.basis.thresholds.dtype)  # autocast gives its own
        local = logistic_loss(logits, signs, chosen, self.concept_weights.to(logits))
        [loss] = global_sums(local * size / total)
        self.step_means.update({"loss/total": loss}, total)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss, and from how many pixels its detectors learned."""
        self.log_dict(self.step_means.compute())
        self.step_means.reset()
        positives = (self.pool.signs == 1).sum()
        self.log("samples/positives", positives.float())
        self.log("samples/negatives", (self.chosen.sum() - positives).float())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over the detectors alone, with the chosen schedule."""
        groups = [
            {"params": [self.basis.weights], "weight_decay": self.hparams.weight_decay},
            {"params": [self.basis.thresholds]},
        ]
        optimizer = Adam(groups, lr=self.hparams.lr, fused=True)
        return scheduled(optimizer, self.hparams, lambda: self.trainer.estimated_stepping_batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record what is needed to load the checkpoint anywhere else and to refuse the wrong backbone.

        Raises:
            ConfigError: if the run diverged.
        """
        check_divergence(self.basis, self.step_means, self.trainer.global_step)
        extra = {"module": type(self).__name__, "concepts": list(self.basis.names)}
        checkpoint["uibe"] = {**record(self.backbone, getattr(self.trainer, "datamodule", None)), **extra}
        checkpoint["step_means"] = self.step_means.sums()
        checkpoint["epoch_so_far"] = {"mined_with": self.mined_with.cpu(), "used": self.used}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make room for the checkpoint's detectors; refuse another backbone's, or to go on on other images.

        Raises:
            MismatchError: if the checkpoint is of another module or newer, or weights or images differ.
        """
        recorded = checked_record(checkpoint, self.backbone, getattr(self._trainer, "datamodule", None))
        if recorded.get("module") != type(self).__name__:
            raise MismatchError("ckpt_path: not a checkpoint of supervised detectors; give its own --model")
        if self._trainer is None:  # otherwise `setup` did, from the data
            self.basis.resize(len(checkpoint["state_dict"]["basis.thresholds"]))
            self.basis.names = tuple(recorded["concepts"])
        self.step_means.go_on(checkpoint.get("step_means"))
        self._broken_off = checkpoint.get("epoch_so_far")

    def _frequent(self, data: LabelledFeatures) -> Tensor:
        positive, negative = image_frequencies(data)
        least = self.hparams.min_frequency
        concepts = ((positive >= least) & (negative > 0)).nonzero()[:, 0]
        if not len(concepts):
            most = int(positive.where(negative > 0, 0).amax()) if len(positive) else 0
            raise ConfigError(
                f"model.min_frequency: no concept has positive pixels in {least} train images and negative "
                f"ones elsewhere; the most frequent has them in {most}"
            )
        return concepts

    def _moments(self, data: LabelledFeatures) -> Moments:
        moments = RunningMoments(self.basis.num_features, self.hparams.standardization == "whiten")
        for features in data.feature_batches("train"):
            moments.update(pixels_of(features).cpu())
        return moments.moments()

    def _mine(self, weights: Tensor) -> None:
        """Choose the epoch's negatives and order by detectors' `weights`, `(I, D)` in standardized space."""
        self.mined_with, self.used = weights, 0
        generator = torch.Generator().manual_seed(self.hparams.seed * 2**20 + self.current_epoch)
        self.chosen = (self.pool.signs == 1) | self._negatives(self.pool, weights, generator)
        self.concept_weights = len(self.chosen) / self.chosen.sum(0).clamp(min=1)
        self.order = torch.randperm(len(self.chosen), generator=generator)

    @torch.no_grad()
    def _negatives(self, pool: LabelledPixels, weights: Tensor, generator: torch.Generator) -> Tensor:
        chosen = torch.zeros_like(pool.signs, dtype=torch.bool)
        for first in range(0, chosen.shape[1], _SCORED):
            scores = self._scores(pool.pixels, weights[first : first + _SCORED])
            for column, score in enumerate(scores.unbind(1), first):
                signs = pool.signs[:, column]
                chosen[:, column] = choose_negatives(score, signs, self.mining, generator)
        return chosen

    def _scores(self, pixels: Tensor, weights: Tensor) -> Tensor:
        """What ranks the pixels for n detectors, `(P, n)`: their logits, but for the thresholds."""
        batches = (batch.to(self.device) for batch in torch.split(pixels, 65536))
        return torch.cat([(self.basis.standardizer(batch) @ weights.T).cpu() for batch in batches])


def _check_ranges(options: Any) -> None:  # noqa: ANN401 - Lightning's attribute dictionary
    """Refuse options that would give a meaningless loss, naming the option."""
    rules = {
        "min_frequency": options.min_frequency >= 1,
        "negatives_per_positive": options.negatives_per_positive >= 1,
        "hard_negatives": 0 <= options.hard_negatives <= 1,
        "candidates": options.candidates >= 1,
        "pixels_megabytes": options.pixels_megabytes >= 1,
        "lr": options.lr > 0,
        "weight_decay": options.weight_decay >= 0,
    }
    for name, holds in rules.items():
        if not holds:
            raise ConfigError(
                f"model.{name}: {getattr(options, name)} is out of range; see README.md for its help"
            )
