"""How good a basis looks without labels: what can rank runs, epochs and options where nothing is annotated.

Everything follows from sums over pixels, so that it adds up over batches and processes.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Criteria", "PixelSums", "criteria", "pixel_sums"]

_LOG2 = math.log(2.0)


class PixelSums(NamedTuple):
    """Sums over pixels, float64; add two of them field by field.

    Attributes:
        num_pixels: `()`.
        usage: `(I,)` sum of `q_i = y_i / sum_j y_j`.
        entropy: `()` sum of `-sum_i q_i log2 q_i`, bits.
        firing: `(I,)` pixels at which each detector fires.
        covered: `()` pixels at which some detector fires.
        single: `()` pixels at which exactly one does.
        strongest: `()` sum of `max_i y_i`.
        powers: `(4, I)` sums of the logits and of their second, third and fourth power.
    """

    num_pixels: Tensor
    usage: Tensor
    entropy: Tensor
    firing: Tensor
    covered: Tensor
    single: Tensor
    strongest: Tensor
    powers: Tensor


class Criteria(NamedTuple):
    """Label-free figures of a basis.

    Attributes:
        information: `H(E_p[q]) - E_p[H(q)]`, bits: mutual information of pixel and detector, the number of
            detectors in use and the certainty of each pixel's in one (Bridle et al. 1991; RIM, Krause et al.
            2010). In [0, log2 I].
        sparsity: `E_p[H(q)]`, the sparsity loss, bits.
        usage: `2 ^ H(E_p[q])`, the effective number of detectors in use, in [1, I].
        firing_rate: mean over the detectors of the share of pixels at which they fire.
        dead: share of detectors that fire nowhere.
        covered: share of pixels at which a detector fires.
        single: share of pixels at which exactly one does.
        strongest: `E_p[max_i y_i]`.
        kurtosis: median over the detectors of the excess kurtosis of their projections, of no thresholds.
        skewness: median over the detectors of the skewness.
    """

    information: float
    sparsity: float
    usage: float
    firing_rate: float
    dead: float
    covered: float
    single: float
    strongest: float
    kurtosis: float
    skewness: float


def pixel_sums(logits: Tensor) -> PixelSums:
    """Sums over pixels.

    Args:
        logits: `(P, I)`.

    Raises:
        ValueError: if they are not two-dimensional.

    Example:
        >>> sums = pixel_sums(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]))
        >>> int(sums.single), [round(float(each)) for each in sums.usage], sums.firing.tolist()
        (2, [1, 1], [1.0, 1.0])
    """
    if logits.ndim != 2:
        raise ValueError(f"expected logits of shape (P, I), got {tuple(logits.shape)}")
    log_y = F.logsigmoid(logits)
    log_q = log_y.log_softmax(1)
    q = log_q.exp()
    fires = logits > 0
    active = fires.sum(1)
    wide = logits.double()
    return PixelSums(
        num_pixels=torch.tensor(float(len(logits)), dtype=torch.float64, device=logits.device),
        usage=q.sum(0, dtype=torch.float64),
        entropy=-(q * log_q).sum(dtype=torch.float64) / _LOG2,
        firing=fires.sum(0).double(),
        covered=(active > 0).sum().double(),
        single=(active == 1).sum().double(),
        strongest=log_y.amax(1).exp().sum(dtype=torch.float64),
        powers=torch.stack([wide.pow(n).sum(0) for n in (1, 2, 3, 4)]),
    )


def criteria(sums: PixelSums) -> Criteria:
    """The figures that follow from the sums over all pixels.

    Example:
        >>> found = criteria(pixel_sums(torch.tensor([[99.0, -99.0], [-99.0, 99.0]])))
        >>> [round(each, 3) for each in (found.information, found.sparsity, found.usage, found.single)]
        [1.0, 0.0, 2.0, 1.0]
    """
    mean_q = sums.usage / sums.num_pixels
    spread = float(-torch.special.xlogy(mean_q, mean_q).sum() / _LOG2)
    sparsity = float(sums.entropy / sums.num_pixels)
    skewness, kurtosis = _shape(sums.powers / sums.num_pixels)
    return Criteria(
        information=spread - sparsity,
        sparsity=sparsity,
        usage=2.0**spread,
        firing_rate=float((sums.firing / sums.num_pixels).mean()),
        dead=float((sums.firing == 0).double().mean()),
        covered=float(sums.covered / sums.num_pixels),
        single=float(sums.single / sums.num_pixels),
        strongest=float(sums.strongest / sums.num_pixels),
        kurtosis=float(kurtosis.median()),
        skewness=float(skewness.median()),
    )


def _shape(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness and excess kurtosis from the first four raw moments.

    Both are 0 where the deviation is below a thousandth of the root mean square, of constants too: fourth
    powers would cancel to rounding.
    """
    m1, m2, m3, m4 = moments
    variance = (m2 - m1.square()).clamp(min=0)
    third = m3 - 3 * m1 * m2 + 2 * m1.pow(3)
    fourth = m4 - 4 * m1 * m3 + 6 * m1.square() * m2 - 3 * m1.pow(4)
    flat = variance <= 1e-6 * m2
    safe = torch.where(flat, 1.0, variance)
    return torch.where(flat, 0.0, third / safe.pow(1.5)), torch.where(flat, 0.0, fourth / safe.square() - 3)
