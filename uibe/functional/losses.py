"""The four UIBE losses, written as functions of sums over pixels.

Every expectation over pixels is over the *global* batch. The per-pixel work is therefore kept apart
(`loss_sums`, additive over pixels, batches and processes) from the terms (`loss_terms`, a function of
the sums), so that one process and eight run the same code. Summing gradients over several small
batches is *not* the same as one large batch: the inactive-classifier term is not linear in the sums.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LossSums", "LossTerms", "LossWeights", "check_logits", "loss_sums", "loss_terms", "total_loss"]

_LOG2 = math.log(2.0)


class LossSums(NamedTuple):
    """Sums over pixels from which all loss terms follow; add two of them field by field.

    Attributes:
        num_pixels: number of pixels, shape `()`.
        sparsity: sum of the entropies `-sum_i q_i log2 q_i`, shape `()`, bits.
        activation: sum of `-sum_i q_i log2 y_i`, shape `()`, bits.
        firing: sum of `y_i ** gamma` for each detector, shape `(I,)`.
    """

    num_pixels: Tensor
    sparsity: Tensor
    activation: Tensor
    firing: Tensor


class LossTerms(NamedTuple):
    """The terms of UIBE, unweighted, each of shape `()` (method.md section 2)."""

    sparsity: Tensor
    maximum_activation: Tensor
    inactive_classifier: Tensor
    maximum_margin: Tensor


class LossWeights(NamedTuple):
    """Weights of the terms in the order of `LossTerms`; the defaults are the published ones."""

    sparsity: float = 2.6
    maximum_activation: float = 2.8
    inactive_classifier: float = 5.0
    maximum_margin: float = 0.6


def check_logits(logits: Tensor) -> None:
    """Refuse what no sums can be taken of.

    Raises:
        ValueError: if `logits` is not `(P, I)`, or of half precision: sums over pixels overflow float16, and
            bfloat16 does not count beyond 256.

    Example:
        >>> check_logits(torch.zeros(3, 4, dtype=torch.bfloat16))
        Traceback (most recent call last):
        ValueError: expected logits of float32 or float64, got torch.bfloat16
    """
    if logits.ndim != 2:
        raise ValueError(f"expected logits of shape (P, I), got {tuple(logits.shape)}")
    if logits.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected logits of float32 or float64, got {logits.dtype}")


def loss_sums(logits: Tensor, gamma: float) -> LossSums:
    """Sum the per-pixel quantities of the UIBE losses over pixels.

    With `y = sigmoid(l)` and `q_i = y_i / sum_j y_j` (UIBE, eq. for L_s and L_ma; method.md section 2).
    `q` is taken as a softmax of `log y`, so nothing underflows however far below threshold a pixel is.

    Args:
        logits: `l`, shape `(P, I)`, float32 or float64.
        gamma: sharpening exponent, above 1 in the paper.

    Returns:
        The sums over the `P` pixels.

    Raises:
        ValueError: if `logits` is not two-dimensional, or of half precision.

    Example:
        >>> sums = loss_sums(torch.zeros(3, 4), gamma=2.0)  # y = 1/2 everywhere, q = 1/4
        >>> int(sums.num_pixels), float(sums.sparsity), float(sums.activation), sums.firing.tolist()
        (3, 6.0, 3.0, [0.75, 0.75, 0.75, 0.75])
    """
    check_logits(logits)
    log_y = F.logsigmoid(logits)
    log_q = F.log_softmax(log_y, dim=1)
    q = log_q.exp()
    return LossSums(
        num_pixels=torch.tensor(float(logits.shape[0]), dtype=logits.dtype, device=logits.device),
        sparsity=-(q * log_q).sum() / _LOG2,
        activation=-(q * log_y).sum() / _LOG2,
        firing=(gamma * log_y).exp().sum(0),
    )


def loss_terms(sums: LossSums, margin: Tensor, tau: float) -> LossTerms:
    """Turn global sums into the four loss terms.

    `L_s = E_p[-sum_i q_i log2 q_i]`, `L_ma = E_p[-sum_i q_i log2 y_i]`,
    `L_ic = E_i[ReLU(nu - E_p[y_i^gamma]) / nu]` with `nu = tau / I`, `L_mm = 1 / M`.

    Args:
        sums: sums over all pixels of the global batch.
        margin: `M`, shape `()`, positive.
        tau: share of all pixels to spread over the detectors, in `(0, 1]`; 0 switches `L_ic` off.

    Returns:
        The unweighted terms.

    Example:
        >>> terms = loss_terms(loss_sums(torch.zeros(3, 4), gamma=2.0), torch.tensor(2.0), tau=0.9)
        >>> [float(term) for term in terms]
        [2.0, 1.0, 0.0, 0.5]
    """
    share = tau / sums.firing.shape[0]
    shortfall = (
        F.relu(share - sums.firing / sums.num_pixels) / share if share > 0 else torch.zeros_like(sums.firing)
    )
    return LossTerms(
        sparsity=sums.sparsity / sums.num_pixels,
        maximum_activation=sums.activation / sums.num_pixels,
        inactive_classifier=shortfall.mean(),
        maximum_margin=1.0 / margin,
    )


def total_loss(terms: LossTerms, weights: LossWeights) -> Tensor:
    """Weighted sum of the loss terms, shape `()`.

    Example:
        >>> terms = LossTerms(*torch.tensor([2.0, 1.0, 0.0, 0.5]))
        >>> round(float(total_loss(terms, LossWeights())), 4)  # 2.6 * 2 + 2.8 * 1 + 5 * 0 + 0.6 * 0.5
        8.3
    """
    return (
        weights.sparsity * terms.sparsity
        + weights.maximum_activation * terms.maximum_activation
        + weights.inactive_classifier * terms.inactive_classifier
        + weights.maximum_margin * terms.maximum_margin
    )
