"""Splitting a prediction over the directions of a basis, for any head and any basis, by one formula.

With `x_p` the features at pixel `p`, `mu` a mean, `g_p = d logit_k / d x_p`, the directions `A (I, D)` in raw
feature space and their pseudo-inverse `A^+ (D, I)`:

`logit_k = f+(mu)_k + sum_i contribution_i + residual`, `contribution_i = sum_p (g_p A^+)_i (A (x_p - mu))_i`.

For pooling and a linear layer `g_p = v_k / P` and `f+(mu)_k = c_k + v_k . mu` (method.md section 6): with
directions that are orthonormal in standardized space nothing is left but rounding, since then
`A^+ = T^-1 W^T` and `A^+ A = 1`. What is left otherwise: the part of `x - mu` that the directions do not span
(too few of them, or a channel that the standardization maps to 0), and what a head that is not linear does
between `mu` and `x`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uibe.functional.detectors import is_natural

__all__ = [
    "Coordinates",
    "PredictionSplit",
    "class_gradients",
    "class_influence",
    "contribution_maps",
    "contributions",
    "coordinates",
    "orthonormal_coordinates",
    "split_prediction",
]

_SMALLEST = 0.01
"""Singular values below this share of the largest count as 0."""

Head = Callable[[Tensor], Tensor]
"""`(N, D, H, W)` features to `(N, K)` logits; gradients flow through."""


class Coordinates(NamedTuple):
    """A basis to write features in: `x - mean` has the coordinates `directions (x - mean)`.

    Attributes:
        directions: `A`, `(I, D)` in raw feature space.
        inverse: `A^+`, `(D, I)`: the feature that a coordinate of 1 stands for, in columns.
        mean: `mu`, `(D,)`.
    """

    directions: Tensor
    inverse: Tensor
    mean: Tensor

    def to(self, device: torch.device) -> "Coordinates":
        """The same on another device."""
        return Coordinates(*(tensor.to(device) for tensor in self))


class PredictionSplit(NamedTuple):
    """Logits of chosen classes and what they are made of: `logits = constant + contributions + residual`.

    Attributes:
        logits: `(N, K)`.
        constant: `(K,)`, logits of the mean feature everywhere.
        contributions: `(N, K, I)`.
        residual: `(N, K)`, what the directions do not explain.
        gradients: `(N, K, D, H, W)`, for heat maps.
    """

    logits: Tensor
    constant: Tensor
    contributions: Tensor
    residual: Tensor
    gradients: Tensor


def orthonormal_coordinates(rotation: Tensor, mean: Tensor, transform: Tensor) -> Coordinates:
    """Coordinates of a basis that is orthonormal in standardized space, in float64: no inversion of `W`.

    `A = W T` and `A^+ = T^+ W^T`, for `z = (x - mean) T`.

    Args:
        rotation: `W`, `(D, D)`, orthonormal rows.
        mean: `(D,)`.
        transform: `T`, `(D,)`, a scale for each channel, or a symmetric `(D, D)`; a scale may be 0.

    Example:
        >>> found = orthonormal_coordinates(torch.eye(2), torch.zeros(2), torch.tensor([0.5, 4.0]))
        >>> found.directions.diag().tolist(), found.inverse.diag().tolist()
        ([0.5, 4.0], [2.0, 0.25])
    """
    rotation, mean, transform = rotation.double(), mean.double(), transform.double()
    if transform.ndim == 2:
        return Coordinates(rotation @ transform, torch.linalg.pinv(transform) @ rotation.T, mean)
    inverse = torch.where(transform == 0, 0.0, 1 / transform)
    return Coordinates(rotation * transform, inverse[:, None] * rotation.T, mean)


def coordinates(directions: Tensor, mean: Tensor) -> Coordinates:
    """Coordinates of any directions, by the pseudo-inverse of their unit vectors, in float64.

    Singular values below 0.01 of the largest count as 0: two directions that say almost the same, as those of
    two concepts that exclude each other do, would otherwise get huge contributions of opposite signs. Lengths
    make no difference to contributions.

    Args:
        directions: `(I, D)` in raw feature space, of any number and length; a direction may be 0.
        mean: `(D,)`.

    Example:
        >>> found = coordinates(torch.tensor([[2.0, 0.0]]), torch.zeros(2))
        >>> found.inverse.tolist()  # the second channel is not spanned
        [[0.5], [0.0]]
    """
    wide = directions.double()
    if is_natural(wide):
        return Coordinates(wide, wide.T, mean.double())
    lengths = wide.norm(dim=1)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    inverse = torch.linalg.pinv(wide / lengths[:, None], rtol=_SMALLEST) / lengths
    return Coordinates(wide, inverse, mean.double())


def class_gradients(head: Head, features: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits of chosen classes and their gradients with respect to the features.

    Args:
        head: f+; it treats images one by one, as any network in eval mode does.
        features: `(N, D, H, W)`.
        classes: K numbers of outputs.

    Returns:
        Logits `(N, K)` and gradients `(N, K, D, H, W)`, both detached.

    Example:
        >>> logits, gradients = class_gradients(lambda x: x.mean((2, 3)), torch.ones(1, 2, 1, 4), [1])
        >>> logits.tolist(), gradients[0, 0, :, 0, 0].tolist()
        ([[1.0]], [0.0, 0.25])
    """
    with torch.enable_grad():
        inputs = features.detach().requires_grad_()
        logits = head(inputs)
        found = [
            torch.autograd.grad(logits[:, number].sum(), inputs, retain_graph=True)[0] for number in classes
        ]
    return logits.detach()[:, list(classes)], torch.stack(found, 1)


def contributions(features: Tensor, gradients: Tensor, basis: Coordinates) -> Tensor:
    """Share of every direction in every class, `sum_p (g_p A^+)_i (A (x_p - mu))_i`; class by class.

    Args:
        features: `(N, D, H, W)`.
        gradients: `(N, K, D, H, W)`.
        basis: of I directions, whose type the sums are taken in.

    Returns:
        `(N, K, I)`.

    Example:
        >>> features, gradients = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1), torch.ones(1, 1, 2, 1, 1)
        >>> contributions(features, gradients, coordinates(torch.eye(2), torch.tensor([1.0, 1.0]))).tolist()
        [[[2.0, 0.0]]]
    """
    return torch.stack(
        [
            torch.stack([(terms * projections).sum(1) for terms in _influences(each, basis)])
            for projections, each in zip(_projections(features, basis), gradients, strict=True)
        ]
    )


def contribution_maps(
    features: Tensor, gradients: Tensor, basis: Coordinates, directions: Sequence[int]
) -> Tensor:
    """Where chosen directions' contributions come from: their per-pixel terms, which add up to them.

    Args:
        features: `(D, H, W)` of one image.
        gradients: `(D, H, W)` of one class.
        basis: of all directions.
        directions: n of them.

    Returns:
        `(n, H, W)`.

    Example:
        >>> basis = coordinates(torch.eye(1), torch.zeros(1))
        >>> contribution_maps(torch.tensor([[[1.0, 3.0]]]), torch.ones(1, 1, 2), basis, [0]).tolist()
        [[[1.0, 3.0]]]
    """
    chosen = list(directions)
    part = Coordinates(basis.directions[chosen], basis.inverse[:, chosen], basis.mean)
    (influence,) = _influences(gradients[None], part)
    return (influence * _projections(features[None], part)[0]).view(len(chosen), *features.shape[1:])


@torch.no_grad()
def split_prediction(
    head: Head, features: Tensor, classes: Sequence[int], basis: Coordinates
) -> PredictionSplit:
    """Split the logits of chosen classes over the directions of a basis.

    Args:
        head: f+.
        features: `(N, D, H, W)`.
        classes: K numbers of outputs.
        basis: on the features' device.

    Returns:
        The parts in float64, and the gradients.

    Example:
        >>> found = split_prediction(
        ...     lambda x: 2 * x.mean((2, 3)) + 1,
        ...     torch.tensor([3.0, 5.0]).view(1, 1, 1, 2),
        ...     [0],
        ...     coordinates(torch.tensor([[10.0]]), torch.tensor([1.0])),
        ... )
        >>> [part.item() for part in found[:4]]
        [9.0, 3.0, 6.0, 0.0]
    """
    logits, gradients = class_gradients(head, features, classes)
    everywhere = basis.mean.to(features)[None, :, None, None].expand(1, *features.shape[1:])
    constant = head(everywhere)[0, list(classes)].to(basis.mean)
    parts = contributions(features, gradients, basis)
    wide = logits.to(parts)
    return PredictionSplit(wide, constant, parts, wide - constant - parts.sum(2), gradients)


@torch.no_grad()
def class_influence(
    head: Head,
    features: Tensor,
    basis: Coordinates,
    num_classes: int,
    watch: Callable[[range], Iterable[int]] = iter,
) -> Tensor:
    """How much each class gains where a direction's projection rises by 1 everywhere, to first order.

    `mean_n sum_p (g_p A^+)_i`. For pooling and a linear layer it is `v_k A^+` whatever the features, so that
    one image of any content does. One class at a time, so that memory does not grow with the classes.

    Args:
        head: f+.
        features: `(N, D, H, W)` to take the gradients at.
        basis: of I directions, on the features' device.
        num_classes: K; each takes a backward pass through the head.
        watch: goes over the classes' numbers, for instance with a progress bar.

    Returns:
        `(K, I)`.

    Example:
        >>> basis = coordinates(torch.eye(2), torch.zeros(2))
        >>> head = lambda x: x.mean((2, 3)) @ torch.tensor([[1.0], [-3.0]])
        >>> class_influence(head, torch.rand(4, 2, 3, 3), basis, 1).round(decimals=5).tolist()
        [[1.0, -3.0]]
    """
    rows = torch.empty(num_classes, len(basis.mean), dtype=basis.mean.dtype, device=features.device)
    with torch.enable_grad():
        inputs = features.detach().requires_grad_()
        logits = head(inputs).sum(0)
        for number in watch(range(num_classes)):
            (gradient,) = torch.autograd.grad(logits[number], inputs, retain_graph=True)
            rows[number] = gradient.to(rows).sum((0, 2, 3)) / len(features)
    return rows @ basis.inverse


def _projections(features: Tensor, basis: Coordinates) -> Tensor:
    """`A (x_p - mu)`, `(N, I, P)`."""
    return basis.directions @ (features.flatten(2).to(basis.mean) - basis.mean[:, None])


def _influences(gradients: Tensor, basis: Coordinates) -> Iterator[Tensor]:
    """`g_p A^+` of each class, `(I, P)`; gradients are `(K, D, H, W)`."""
    return (basis.inverse.T @ each.flatten(1).to(basis.mean) for each in gradients)
