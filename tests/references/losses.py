"""The four UIBE terms, pixel by pixel as method.md section 2 defines them."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "loss_terms"]

FloatArray = npt.NDArray[np.float64]


def loss_terms(logits: npt.NDArray[Any], margin: float, gamma: float, tau: float) -> list[float]:
    """`[L_s, L_ma, L_ic, L_mm]` of `(P, I)` logits, from the literal definitions."""
    num_pixels, num_detectors = logits.shape
    score = [[1.0 / (1.0 + float(np.exp(-value))) for value in row] for row in logits]
    entropies, activations = [], []
    for row in score:
        share = [y / sum(row) for y in row]
        entropies.append(-sum(q * float(np.log2(q)) for q in share))
        activations.append(-sum(q * float(np.log2(y)) for q, y in zip(share, row, strict=True)))
    nu, shortfalls = tau / num_detectors, []
    for detector in range(num_detectors):
        firing = sum(row[detector] ** gamma for row in score) / num_pixels
        shortfalls.append(max(0.0, nu - firing) / nu)
    return [
        sum(entropies) / num_pixels,
        sum(activations) / num_pixels,
        sum(shortfalls) / num_detectors,
        1.0 / margin,
    ]
