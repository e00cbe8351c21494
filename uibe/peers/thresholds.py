"""Thresholds for given directions, learned by UIBE's own objective: the directions are frozen."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.functional.fused import fused_loss_sums
from uibe.functional.losses import LossWeights, loss_terms, total_loss
from uibe.functional.quantiles import column_quantiles
from uibe.modules.standardizer import Standardizer
from uibe.peers.interface import Features
from uibe.peers.sample import BLOCK, pixel_blocks, sample_pixels, shuffled_positions, sum_moments

__all__ = ["OBJECTIVE", "Objective", "learn_thresholds"]

_MEMORY = 512 * 2**20  # bytes of projections to hold


class Objective(NamedTuple):
    """What is minimized and where it starts: the defaults are those of training a basis.

    Attributes:
        weights: of the loss terms.
        gamma: sharpening exponent of L_ic.
        tau: share of all pixels to spread over the detectors.
        margin: M at the start.
        start_firing: share of the pixels that exceed each starting threshold; null for 0.05, or 16 / I
            where that is less.
    """

    weights: LossWeights = LossWeights(0.5, 2.8, 1.0, 0.6)
    gamma: float = 2.0
    tau: float = 0.9
    margin: float = 0.3
    start_firing: float | None = None

    def starting_share(self, detectors: int) -> float:
        """Share of the pixels that exceed a starting threshold.

        Example:
            >>> OBJECTIVE.starting_share(64), OBJECTIVE.starting_share(1600)
            (0.05, 0.01)
        """
        return min(0.05, 16 / detectors) if self.start_firing is None else self.start_firing


OBJECTIVE = Objective()


def learn_thresholds(
    directions: Tensor,
    data: Features,
    steps: int = 300,
    seed: int = 0,
    progress: bool = False,
    pixels: int = 100_000,
    lr: float = 3e-3,
    objective: Objective = OBJECTIVE,
) -> Detectors:
    """Learn thresholds and margin under UIBE's losses, the directions frozen (method.md section 5).

    Features are standardized channel by channel, as for a basis, by the moments of all train pixels; a raw
    direction `w` is `sd * w` there, and is brought to unit norm, as the directions of a basis are. Neither
    changes what it detects. Adam with a cosine schedule, 4096 pixels a batch.

    Where directions cannot turn, the losses can be lowest for detectors that all fire nearly everywhere: many
    more steps or a higher rate lead there, so both are as in training a basis on a small data set.

    Args:
        directions: `(I, D)`, raw; their lengths do not matter.
        data: features.
        steps: optimizer steps.
        seed: of the sample and the batches.
        progress: whether to show bars.
        pixels: size of the sample.
        lr: learning rate at the start, a basis's.
        objective: losses and start.

    Returns:
        The directions as given, and thresholds for them in raw feature space, `(I,)` float32.

    Raises:
        ConfigError: if an argument is out of range.
        DataError: if the features are constant, or not finite.
        MismatchError: if directions and features differ in width.

    Example:
        >>> class Tail:
        ...     values = torch.rand(500, 2, 1, 1, generator=torch.Generator().manual_seed(0)) ** 4
        ...     num_pixels = lambda self, split: 500
        ...     feature_batches = lambda self, split: [self.values]
        >>> detectors = learn_thresholds(torch.eye(2), Tail())
        >>> [0.1 < float(threshold) < 0.9 for threshold in detectors.thresholds]
        [True, True]
    """
    if steps < 1:
        raise ConfigError(f"steps: expected at least 1, got {steps}")
    sample = sample_pixels(data, pixels, seed, progress)
    if directions.ndim != 2 or directions.shape[1] != sample.shape[1]:
        raise MismatchError(
            f"directions: expected shape (I, {sample.shape[1]}) as the features have, "
            f"got {tuple(directions.shape)}"
        )
    standardizer = Standardizer(sample.shape[1], "zscore").to(sample.device)
    standardizer.fit(sum_moments(pixel_blocks(data, progress=progress)))
    unit, norms = _standardized(directions.to(sample.device), standardizer.transform)
    projections = _Projections(sample, standardizer, unit)
    learned = _descend(projections, steps, lr, seed, objective, progress)
    offsets = directions.to(norms) @ standardizer.mean.double()
    return Detectors(directions, (norms * learned.double() + offsets).to(directions))


def _standardized(directions: Tensor, transform: Tensor) -> tuple[Tensor, Tensor]:
    """Unit rows in standardized space, `(I, D)`, and the norms they had there, `(I,)` float64.

    A constant channel has no part in it: its transform is 0.
    """
    deviation = torch.where(transform > 0, 1 / transform.double(), 0.0)
    moved = directions.double() * deviation
    norms = torch.linalg.vector_norm(moved, dim=1)
    unit = torch.where(norms[:, None] > 0, moved / norms[:, None], 0.0)
    return unit.to(transform), norms


class _Projections:
    """Standardized projections of the sample, `(P, I)`: held if memory allows, else taken batch by batch."""

    def __init__(self, sample: Tensor, standardizer: Standardizer, unit: Tensor) -> None:
        self._project: Callable[[Tensor], Tensor] = lambda pixels: standardizer(pixels) @ unit.T
        self._sample, self.shape, self._held = sample, (len(sample), len(unit)), False
        if math.prod(self.shape) * sample.element_size() <= _MEMORY:
            self._sample, self._held = torch.cat(list(self)), True

    def __getitem__(self, positions: Tensor) -> Tensor:
        rows = self._sample[positions.to(self._sample.device)]
        return rows if self._held else self._project(rows)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield all of them, any number of times: quantiles may take several passes."""
        for rows in torch.split(self._sample, BLOCK):
            yield rows if self._held else self._project(rows)


def _descend(
    projections: _Projections, steps: int, lr: float, seed: int, objective: Objective, progress: bool
) -> Tensor:
    """Thresholds in standardized space, `(I,)`."""
    num_pixels, num_detectors = projections.shape
    start = column_quantiles(projections, objective.starting_share(num_detectors), num_pixels)
    thresholds = nn.Parameter(start)
    log_margin = nn.Parameter(torch.full_like(start[0], math.log(objective.margin)))
    optimizer = Adam([thresholds, log_margin], lr=lr)
    schedule = CosineAnnealingLR(optimizer, steps)
    batches = shuffled_positions(num_pixels, BLOCK, steps, torch.Generator().manual_seed(seed))
    for positions in track(batches, "Learning thresholds", steps, disable=not progress, transient=True):
        margin = log_margin.exp()
        sums = fused_loss_sums((projections[positions] - thresholds) / margin, objective.gamma)
        loss = total_loss(loss_terms(sums, margin, objective.tau), objective.weights)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return thresholds.detach()
