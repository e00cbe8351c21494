"""The training step's two costly parts with gradients in closed form, one pass each.

`fused_loss_sums` equals `losses.loss_sums`, and `tangent_logits` equals `detectors.logits` of directions that
are about to turn. Both are checked against those plain versions, which stay the definition.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from uibe.functional.losses import LossSums, check_logits

__all__ = ["fused_loss_sums", "tangent_logits"]

_LOG2 = math.log(2.0)
_BLOCK = 2**19


def fused_loss_sums(logits: Tensor, gamma: float) -> LossSums:
    """`uibe.functional.losses.loss_sums` with its gradient in closed form.

    With `u = sum_i q_i log2 y_i` of the same pixel, and `g_s, g_a, g_f` the gradients of the three sums,
    `dL/dl_i = (1 - y_i) (q_i ((g_s + g_a) (u - log2 y_i) - g_a / ln 2) + g_f,i gamma y_i^gamma)`.

    Args:
        logits: `l`, shape `(P, I)`, float32 or float64.
        gamma: sharpening exponent.

    Returns:
        The sums over the `P` pixels.

    Raises:
        ValueError: if `logits` is not two-dimensional, or of half precision.

    Example:
        >>> sums = fused_loss_sums(torch.zeros(3, 4), gamma=2.0)  # y = 1/2 everywhere, q = 1/4
        >>> int(sums.num_pixels), float(sums.sparsity), float(sums.activation), sums.firing.tolist()
        (3, 6.0, 3.0, [0.75, 0.75, 0.75, 0.75])
    """
    check_logits(logits)
    num_pixels = torch.tensor(float(logits.shape[0]), dtype=logits.dtype, device=logits.device)
    return LossSums(num_pixels, *_FusedSums.apply(logits, gamma))


def tangent_logits(
    pixels: Tensor, generator: Tensor, base: Tensor, thresholds: Tensor, margin: Tensor
) -> Tensor:
    """Logits of the directions `map(A) base` at `A = 0`, whatever the map: each sends `A` to `I + A + ...`.

    Value and gradients are those of `logits(pixels, rotation(generator) @ base, thresholds, margin)` at a
    generator of zeros. With `T = G^T l + G^T 1 b^T / M`, `G` the gradient of the logits, the gradient of
    entry (i, j) below the diagonal is `T_ij - T_ji`: the projections that the logits are made of stand in
    for `pixels @ base.T`, which saves a product of two `D x D` matrices.

    Under autocast both products are taken in its dtype; logits, directions and gradients stay as they are.

    Args:
        pixels: `(P, D)`, standardized; no gradient reaches them.
        generator: `(D, D)` zeros; only the strictly lower triangle counts.
        base: `(D, D)` orthonormal rows, the current directions.
        thresholds: `b`, `(D,)`.
        margin: `M`, shape `()`, positive.

    Returns:
        `(P, D)`.

    Example:
        >>> generator = torch.zeros(2, 2, requires_grad=True)
        >>> pixels, margin = torch.tensor([[3.0, 1.0]]), torch.tensor(2.0)
        >>> logits = tangent_logits(pixels, generator, torch.eye(2), torch.ones(2), margin)
        >>> logits.tolist()
        [[1.0, 0.0]]
        >>> logits[0, 1].backward()  # turning direction 1 towards direction 0 adds 3 / M
        >>> generator.grad.tolist()
        [[0.0, 0.0], [1.5, 0.0]]
    """
    logits: Tensor = _TangentLogits.apply(pixels, generator, base, thresholds, margin)
    return logits


class _FusedSums(torch.autograd.Function):
    """Block by block, so that a CPU's cache holds what a block is turned into on its way.

    Saved are `log2 y` and `y`, both relative to the pixel's strongest detector, whose own `log2 y` is
    `level`: nothing underflows or cancels however far below its thresholds a pixel lies.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        log_y, shares = torch.empty_like(logits), torch.empty_like(logits)
        level, mass, mean = (logits.new_empty(len(logits), 1) for _ in range(3))
        firing = logits.new_zeros(logits.shape[1])
        for rows in _blocks(logits):
            y = _sigmoid(logits[rows], log_y[rows])
            level[rows] = log_y[rows].amax(1, keepdim=True)
            torch.exp2(log_y[rows].sub_(level[rows]), out=shares[rows])
            mass[rows] = shares[rows].sum(1, keepdim=True)
            mean[rows] = torch.linalg.vecdot(shares[rows], log_y[rows])[:, None] / mass[rows]
            firing += _power(y, gamma).sum(0)
        ctx.save_for_backward(log_y, shares, level, mass, mean)
        ctx.gamma = gamma
        return (mass.log2() - mean).sum(), -(mean + level).sum(), firing

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, sparsity: Tensor, activation: Tensor, firing: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        log_y, shares, level, mass, mean = ctx.saved_tensors
        both = sparsity + activation
        slope, offset, strongest = -both / mass, (both * mean - activation / _LOG2) / mass, level.exp2()
        gradient = torch.empty_like(log_y)
        for rows in _blocks(log_y):
            y = shares[rows] * strongest[rows]
            part = torch.mul(log_y[rows], slope[rows], out=gradient[rows])
            part.add_(offset[rows]).mul_(shares[rows]).addcmul_(_power(y, ctx.gamma), ctx.gamma * firing)
            part.addcmul_(part, y, value=-1)
        return gradient, None


class _TangentLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        pixels: Tensor,
        generator: Tensor,
        base: Tensor,
        thresholds: Tensor,
        margin: Tensor,
    ) -> Tensor:
        ctx.product_type = _product_type(pixels)
        if ctx.product_type is None:
            logits = torch.addmm(-thresholds / margin, pixels, (base / margin).T)
        else:
            projections = pixels.to(ctx.product_type) @ base.to(ctx.product_type).T
            logits = (projections.to(base.dtype) - thresholds) / margin
        ctx.save_for_backward(logits, thresholds, margin)
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, Tensor, Tensor]:  # noqa: ANN401
        logits, thresholds, margin = ctx.saved_tensors
        total = gradient.sum(0)
        left, right = (
            each if ctx.product_type is None else each.to(ctx.product_type) for each in (gradient, logits)
        )
        turned = (left.T @ right).to(logits.dtype)
        margin_gradient = -turned.diagonal().sum() / margin
        turned.addr_(total, thresholds / margin)
        return None, (turned - turned.T).tril_(-1), None, -total / margin, margin_gradient


def _sigmoid(logits: Tensor, log_y: Tensor) -> Tensor:
    """`y = sigmoid(l)`; `log2 y` goes to `log_y`.

    `log2 sigmoid(l)` as long as `sigmoid(l)` is a normal number, `l / ln 2` further below. Accurate to the
    rounding of 1, which is what sums and gradients need; torch's own is accurate to the rounding of `log y`
    and takes thirty times as long as a logarithm on CPUs.
    """
    lowest = math.ceil(math.log(torch.finfo(logits.dtype).tiny))
    y = logits.clamp(min=lowest).sigmoid_()
    torch.log2(y, out=log_y)
    log_y.add_(logits.clamp(max=lowest).sub_(lowest), alpha=1 / _LOG2)
    return y


def _power(y: Tensor, gamma: float) -> Tensor:
    return y * y if gamma == 2.0 else y.pow(gamma)  # torch squares by its general power, six times slower


def _blocks(logits: Tensor) -> list[slice]:
    """Rows to treat at once: two megabytes' worth on CPUs, all of them elsewhere."""
    step = max(1, _BLOCK // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    return [slice(start, start + step) for start in range(0, len(logits), step)]


def _product_type(pixels: Tensor) -> torch.dtype | None:
    kind = pixels.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
