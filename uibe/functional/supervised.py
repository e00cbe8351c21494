"""The supervised basis: one logistic detector a concept, and the negatives that it learns from.

IBD (Zhou et al., ECCV 2018): positives are pixels that carry the concept, negatives are limited to a number
for each positive and mined again as the detector improves.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Mining", "choose_negatives", "logistic_loss", "prior_thresholds"]


class Mining(NamedTuple):
    """How negatives are chosen.

    Half of them are the hardest: they are the ones that a detector still gets wrong. They come from a random
    pool, since the very hardest pixels of all are often objects that nobody labelled, and would return in
    every epoch. The other half is random, as hard negatives alone raise the threshold until the detector
    hardly fires on ordinary pixels.

    Attributes:
        per_positive: most negatives for each positive; where there are fewer, all are taken.
        hard: share of the hardest among them.
        pool: size of the random pool, in multiples of the number of negatives to choose.
    """

    per_positive: int = 20
    hard: float = 0.5
    pool: float = 4.0


def choose_negatives(scores: Tensor, signs: Tensor, mining: Mining, generator: torch.Generator) -> Tensor:
    """The negatives that one concept's detector learns from next.

    Args:
        scores: `(P,)` the detector's logits.
        signs: `(P,)` int8: 1 positive, 0 negative, -1 neither, see `uibe.functional.pixel_labels`.
        mining: how to choose.
        generator: on the CPU; draws the pool.

    Returns:
        `(P,)` bool, true at negatives alone.

    Example:
        >>> signs = torch.tensor([1, 0, 0, -1, 0], dtype=torch.int8)
        >>> hardest = Mining(per_positive=1, hard=1.0, pool=3.0)
        >>> scores = torch.tensor([0.0, 1.0, 3.0, 9.0, 2.0])
        >>> choose_negatives(scores, signs, hardest, torch.Generator()).tolist()
        [False, False, True, False, False]
    """
    negatives = (signs == 0).nonzero()[:, 0]
    wanted = mining.per_positive * int((signs == 1).sum())
    chosen = torch.zeros_like(signs, dtype=torch.bool)
    if wanted < len(negatives):
        drawn = torch.randperm(len(negatives), generator=generator).to(negatives.device)
        pool = negatives[drawn[: max(wanted, round(mining.pool * wanted))]]
        ranked = scores[pool].argsort(descending=True, stable=True)
        num_hard = round(mining.hard * wanted)
        # the pool is in random order, and so is what is left of it in its own order
        rest = ranked[num_hard:].sort().values[: wanted - num_hard]
        negatives = pool[torch.cat([ranked[:num_hard], rest])]
    chosen[negatives] = True
    return chosen


def logistic_loss(logits: Tensor, signs: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """`L = sum_i weight_i E_p[chosen_pi softplus(-s_pi l_pi)]`, `s` = 1 for positives and -1 for negatives.

    With `weight_i = P / number of pixels chosen for i` over a whole pass, the expectation over batches is the
    sum of every concept's own mean: no concept counts more because it is frequent.

    Args:
        logits: `(P, I)`.
        signs: `(P, I)` int8.
        chosen: `(P, I)` bool, the pixels that each detector learns from.
        weights: `(I,)`.

    Returns:
        Shape `()`.

    Example:
        >>> signs = torch.tensor([[1], [0]], dtype=torch.int8)
        >>> chosen, weights = torch.tensor([[True], [False]]), torch.tensor([2.0])
        >>> loss = logistic_loss(torch.zeros(2, 1), signs, chosen, weights)
        >>> round(loss.item(), 4)
        0.6931
    """
    losses = F.softplus(torch.where(signs == 1, -logits, logits))
    return (losses * chosen).mean(0) @ weights


def prior_thresholds(signs: Tensor, per_positive: int) -> Tensor:
    """Thresholds at which a detector without directions gives each concept's share of positives, `(I,)`.

    `b = log(negatives / positives)`: to begin there saves the steps that would only learn the shares.

    Args:
        signs: `(P, I)` int8.
        per_positive: most negatives for each positive.

    Example:
        >>> prior_thresholds(torch.tensor([[1], [0], [0], [-1]], dtype=torch.int8), 20).exp().tolist()
        [2.0]
    """
    positives = (signs == 1).sum(0).clamp(min=1)
    negatives = torch.minimum((signs == 0).sum(0), per_positive * positives).clamp(min=1)
    return (negatives / positives).log()
