"""The LightningModule that learns an interpretable basis; mathematics and state live in `uibe`."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam

from lightning_modules.frozen import FrozenModule, checked_record, record
from lightning_modules.numbers import check_divergence, check_trainer
from lightning_modules.options import check_ranges, scheduled
from uibe.functional.detectors import pixels_of
from uibe.functional.fused import fused_loss_sums
from uibe.functional.losses import LossSums, LossTerms, LossWeights, loss_sums, loss_terms, total_loss
from uibe.functional.moments import Moments
from uibe.functional.processes import broadcast, global_sum, global_sums, rank, world_size
from uibe.functional.quantiles import column_quantiles
from uibe.memory import keep_freed_memory
from uibe.metrics.running import RunningMeans, RunningMoments
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.peers.interface import Features
from uibe.peers.learned import kmeans

__all__ = ["BasisModule"]

_POLISH_EVERY = 16
_MEASURED = [
    "loss/total",
    *(f"loss/{name}" for name in LossTerms._fields),
    "detectors/firing_rate",
    "detectors/dead",
    "detectors/margin",
]


class BasisModule(FrozenModule):
    """Learn the rotation of a layer's feature space in which thresholded pixels are close to one-hot.

    UIBE (arXiv 2303.10523) as method.md states it. The defaults depart from the published setting, which
    `configs/resnet18_places365_broden.yaml` holds: on small data sets half of the detectors die under it.

    Args:
        backbone: `torchvision:NAME`, `timm:NAME` or an import path to a callable.
        weights: see `uibe.modules.backbone.Backbone`; null for random weights.
        layer: dotted name of the layer to cut at.
        image_size: input size, null for the weights' own.
        mean: of the input channels, null for the weights' own.
        std: of the input channels, null for the weights' own.
        input_range: of the input before mean and std, null for the weights' own.
        standardization: of the features, see `uibe.modules.standardizer`.
        rotation_map: from generator to rotation; `polynomial` is the fastest, and needs a moving base.
        start: rotation to begin with; `kmeans` is the one nearest to the directions of D clusters, which take
            seconds to a minute to find, and is best learned from with a `start_firing` of about 0.01.
        start_firing: share of the training pixels that exceed each starting threshold; null for 0.05, or
            16 / D where that is less: from too dense a start a wide layer settles in a dense solution.
        margin: M at the start.
        gamma: sharpening exponent of the inactive-classifier term.
        tau: share of all pixels to spread over the detectors.
        sparsity_weight: weight of L_s.
        maximum_activation_weight: weight of L_ma.
        inactive_classifier_weight: weight of L_ic.
        maximum_margin_weight: weight of L_mm.
        lr: learning rate of Adam.
        lr_schedule: `cosine` to zero over the run, `plateau` as published, or `constant`.
        plateau_factor: of the `plateau` schedule.
        plateau_patience: in epochs.
        plateau_cooldown: in epochs.
        rebase_every: optimizer steps between moves of the rotation's base; 0 for never, as published.
        fused: take gradients in closed form; false leaves them to autograd, several times slower.
        max_angle: bound on the turn between two moves of the base, radians in the root mean square over
            directions; null for none, and without effect when the base never moves.
        seed: of the random start.

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
        rotation_map: Literal["polynomial", "cayley", "matrix_exp", "householder"] = "polynomial",
        start: Literal["identity", "random", "pca", "kmeans"] = "identity",
        start_firing: float | None = None,
        margin: float = 0.3,
        gamma: float = 2.0,
        tau: float = 0.9,
        sparsity_weight: float = 0.5,
        maximum_activation_weight: float = 2.8,
        inactive_classifier_weight: float = 1.0,
        maximum_margin_weight: float = 0.6,
        lr: float = 3e-3,
        lr_schedule: Literal["cosine", "plateau", "constant"] = "cosine",
        plateau_factor: float = 0.5,
        plateau_patience: int = 10,
        plateau_cooldown: int = 10,
        rebase_every: int = 1,
        max_angle: float | None = 0.1,
        fused: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges(self.hparams)
        sizes: dict[str, Any] = {
            "image_size": image_size,
            "mean": mean,
            "std": std,
            "input_range": input_range,
        }
        self.backbone = Backbone(backbone, weights, layer, **sizes)
        self.basis = InterpretableBasis(self.backbone.num_features, standardization, rotation_map, margin)
        self.step_means = RunningMeans(_MEASURED)
        self.loss_weights = LossWeights(
            sparsity_weight, maximum_activation_weight, inactive_classifier_weight, maximum_margin_weight
        )

    def on_fit_start(self) -> None:
        """Standardize and place rotation and thresholds, unless a checkpoint did.

        In a distributed run each process looks at its own images; all begin with what the first one found.

        Raises:
            ConfigError: with gradient accumulation, under which the inactive-classifier term is another, or
                in half precision.
        """
        check_trainer(self.trainer)
        keep_freed_memory()
        if bool(self.basis.started):
            return
        data = self.trainer.datamodule.features  # type: ignore[attr-defined]
        batches = _pixel_batches(lambda: data.share().feature_batches("train"))
        self._place(data, self._moments(batches()))
        projections, total = _Projections(self.basis, batches), data.num_pixels("train")
        add_up = global_sum if world_size() > 1 else None
        thresholds = column_quantiles(projections, self._start_firing(), total, add_up=add_up)
        self.basis.start_thresholds(thresholds)
        broadcast(list(self.basis.state_dict().values()))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The weighted loss of a batch of pixels `(P, D)`, or of images `(N, 3, h, w)`, of all processes."""
        pixels = pixels_of(self.backbone.features(batch)) if batch.ndim == 4 else batch
        logits = self._logits(pixels)
        local = (fused_loss_sums if self.hparams.fused else loss_sums)(logits, self.hparams.gamma)
        *sums, fired = global_sums(*local, _fired(logits.detach()))
        num_pixels = sums[0]
        terms = loss_terms(LossSums(*sums), self.basis.margin, self.hparams.tau)
        loss = total_loss(terms, self.loss_weights)
        self._note(loss, terms, fired, num_pixels)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means of what each step measured, and the orthogonality error."""
        self.log_dict(self.step_means.compute())
        self.step_means.reset()
        self.log("rotation/orthogonality_error", self.basis.orthogonality_error())

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Step, then move the base of the rotation where it is due.

        Raises:
            ConfigError: if the run diverged.
        """
        super().optimizer_step(*args, **kwargs)
        self.move_base(self.trainer.global_step + 1)  # this step is counted after the hook

    def move_base(self, step: int) -> None:
        """After optimizer step number `step`, counted from 1, move the rotation's base if it is due."""
        every = self.hparams.rebase_every
        if every and step % every == 0:
            self.basis.rotation.rebase(self.hparams.max_angle, polish=step % (_POLISH_EVERY * every) == 0)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over the basis alone, with the chosen schedule."""
        optimizer = Adam(self.basis.parameters(), lr=self.hparams.lr, fused=True)
        return scheduled(optimizer, self.hparams, lambda: self.trainer.estimated_stepping_batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record what is needed to load the checkpoint anywhere else and to refuse the wrong backbone.

        Raises:
            ConfigError: if the run diverged.
        """
        check_divergence(self.basis, self.step_means, self.trainer.global_step)
        checkpoint["uibe"] = record(self.backbone, getattr(self.trainer, "datamodule", None))
        checkpoint["step_means"] = self.step_means.sums()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another backbone, or to go on learning on other images.

        Raises:
            MismatchError: if the format is newer, or weights or images differ.
        """
        checked_record(checkpoint, self.backbone, getattr(self._trainer, "datamodule", None))
        self.step_means.go_on(checkpoint.get("step_means"))

    def _logits(self, pixels: Tensor) -> Tensor:
        at_base = self.hparams.fused and self.hparams.rebase_every == 1
        logits: Tensor = self.basis.tangent(pixels) if at_base else self.basis(pixels)
        return logits.to(self.basis.thresholds.dtype)  # autocast gives its own

    def _place(self, data: Features, moments: Moments) -> None:
        options = self.hparams
        if options.start == "kmeans":
            size = self.basis.num_features
            first = rank() == 0
            found = kmeans(data, options.seed).directions if first else torch.empty(size, size)
            directions = found.to(self.basis.thresholds)
            broadcast([directions])
            self.basis.start_near(moments, directions)
        else:
            self.basis.start(moments, options.start, options.seed)

    def _start_firing(self) -> float:
        given: float | None = self.hparams.start_firing
        return min(0.05, 16 / self.basis.num_features) if given is None else given

    def _moments(self, batches: Iterator[Tensor]) -> Moments:
        full = self.hparams.standardization == "whiten" or self.hparams.start == "pca"
        moments = RunningMoments(self.basis.num_features, full).to(self.device)
        for pixels in batches:
            moments.update(pixels)
        return moments.moments()

    def _note(self, loss: Tensor, terms: LossTerms, fired: Tensor, num_pixels: Tensor) -> None:
        # not self.log: for so many values it takes a third as long as a step over 320 channels
        values = {
            "loss/total": loss,
            **{f"loss/{name}": term for name, term in terms._asdict().items()},
            "detectors/firing_rate": fired.mean() / num_pixels,
            "detectors/dead": (fired == 0).sum(),
            "detectors/margin": self.basis.margin,
        }
        self.step_means.update(values, num_pixels)


class _Projections:
    """Projections of all training pixels, any number of times: quantiles of much data take several passes."""

    def __init__(self, basis: InterpretableBasis, batches: Callable[[], Iterator[Tensor]]) -> None:
        self._basis, self._batches = basis, batches

    def __iter__(self) -> Iterator[Tensor]:
        directions = self._basis.rotation().detach()
        return (self._basis.standardizer(pixels) @ directions.T for pixels in self._batches())


def _fired(logits: Tensor) -> Tensor:
    """Pixels at which each detector fires, `(I,)` floating."""
    return torch.gt(logits, 0, out=torch.empty_like(logits)).sum(0)  # a sum of booleans is slow


def _pixel_batches(batches: Callable[[], Iterator[Tensor]]) -> Callable[[], Iterator[Tensor]]:
    return lambda: (pixels_of(features) for features in batches())
