"""Maps from skew-symmetric matrices onto rotations, and the error left by rounding.

Each map sends 0 to the identity and small generators `A` to `I + A` up to second order, so they can be
exchanged, and each is orthogonal for *every* `A`: a large step turns too far but never leaves the rotations.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = [
    "ROTATION_MAPS",
    "RotationMap",
    "limit_angle",
    "nearest_rotation",
    "orthogonality_error",
    "polish",
    "random_rotation",
    "rotation",
    "skew",
]

RotationMap = Literal["polynomial", "cayley", "matrix_exp", "householder"]
ROTATION_MAPS: tuple[RotationMap, ...] = get_args(RotationMap)

_QUARTIC = (0.75 - 0.5**0.5) / 2
_CUBIC = _QUARTIC + 0.125
_LARGEST_TURN = 0.4  # radians: 16 such turns leave an error below 1e-5, see `_polynomial`


def skew(generator: Tensor) -> Tensor:
    """The skew-symmetric matrix of the strictly lower triangle, `A = L - L^T`, shape `(D, D)`.

    Example:
        >>> skew(torch.tensor([[5.0, 5.0], [2.0, 5.0]])).tolist()
        [[0.0, -2.0], [2.0, 0.0]]
    """
    lower = generator.tril(-1)
    return lower - lower.T


def rotation(generator: Tensor, rotation_map: RotationMap = "cayley") -> Tensor:
    """Map a generator onto a rotation; only its strictly lower triangle counts.

    `cayley`: `(I - A/2)^-1 (I + A/2)`; `matrix_exp`: `exp(A)`; `householder`: minus the product of the
    reflections along the columns of `I + L/2`, whose derivative at 0 is `A` too; `polynomial`: a polynomial
    of degree four, for steps from the current rotation only, which turns no plane by more than 0.4 rad
    and takes two products of matrices.

    Args:
        generator: `(D, D)`, floating.
        rotation_map: one of `polynomial`, `cayley`, `matrix_exp`, `householder`.

    Returns:
        `(D, D)` orthogonal; by `polynomial` up to 1e-6.

    Raises:
        ValueError: if the map is unknown.

    Example:
        >>> quarter = torch.tensor([[0.0, 0.0], [torch.pi / 2, 0.0]])
        >>> rotation(quarter, "matrix_exp").round(decimals=3).abs().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    if rotation_map not in _MAPS:
        raise ValueError(f"expected a rotation map of {', '.join(ROTATION_MAPS)}, got {rotation_map!r}")
    return _MAPS[rotation_map](generator)


def _polynomial(generator: Tensor) -> Tensor:
    """`I + sA + (sA)^2 / 2 + c3 (sA)^3 + c4 (sA)^4`, `s` so small that no plane turns by more than 0.4 rad.

    With these two coefficients `R^T R = I + c4^2 (sA)^8`, at most 3.1e-7 from the identity. The eigenvalues
    of a skew matrix come in pairs, so its angles are at most `(|c3 A^3 + c4 A^4|_F / (c3 sqrt 2))^(1/3)`.
    Gradients take `s` for a constant. In place where it can be: fresh memory costs more than sums.
    """
    first = skew(generator)
    second = first @ first
    mixed = second @ torch.add(second, first, alpha=_CUBIC / _QUARTIC)  # c3 A^3 + c4 A^4, over c4
    flat = mixed.detach().flatten()
    largest = (flat.dot(flat).sqrt() * (_QUARTIC / (_CUBIC * 2**0.5))).pow(1 / 3)
    s = _LARGEST_TURN / largest.clamp(min=_LARGEST_TURN)
    cubic, quartic = s**3 * _QUARTIC, s**4 * _QUARTIC
    turned = first * s
    turned.addcmul_(second, s**2 / 2)
    turned.addcmul_(mixed, (quartic + cubic) / 2).addcmul_(mixed.T, (quartic - cubic) / 2)  # skew, symmetric
    turned.diagonal().add_(1)
    return turned


def _cayley(generator: Tensor) -> Tensor:
    half, eye = skew(generator) / 2, _eye_like(generator)
    turned: Tensor = torch.linalg.solve(eye - half, eye + half)
    return turned


def _matrix_exp(generator: Tensor) -> Tensor:
    turned: Tensor = torch.linalg.matrix_exp(skew(generator))
    return turned


def _householder(generator: Tensor) -> Tensor:
    lower = generator.tril(-1) / 2
    tau = 2.0 / (1.0 + lower.square().sum(0))
    turned: Tensor = torch.linalg.householder_product(lower, tau)  # takes the diagonal for ones
    return -turned


_MAPS = {"polynomial": _polynomial, "cayley": _cayley, "matrix_exp": _matrix_exp, "householder": _householder}


def limit_angle(generator: Tensor, max_angle: float) -> Tensor:
    """Shrink a generator so that directions turn by at most `max_angle` in the root mean square.

    A direction turns by about the norm of its row of `A`. First-order optimizers that move each entry
    by up to their learning rate turn a direction by `lr * sqrt(D)`: a step that suits a narrow layer
    is a leap in a wide one. The bound makes the step safe at any `D` and any learning rate.

    Args:
        generator: `(D, D)`, only the strictly lower triangle counts.
        max_angle: radians, positive.

    Example:
        >>> limited = limit_angle(torch.tensor([[0.0, 0.0], [3.0, 0.0]]), max_angle=0.5)
        >>> limited.tolist()
        [[0.0, 0.0], [0.5, 0.0]]
    """
    angle = (2 / len(generator)) ** 0.5 * torch.linalg.matrix_norm(generator.tril(-1))
    limited: Tensor = generator * (max_angle / angle.clamp(min=max_angle))
    return limited


def polish(directions: Tensor) -> Tensor:
    """One Newton-Schulz step towards the nearest orthogonal matrix, `1.5 W - 0.5 W W^T W`.

    The error is squared: 1e-4 becomes about 1e-8, so rounding cannot add up over steps.

    Example:
        >>> nearly = torch.eye(3) * 1.001
        >>> float(orthogonality_error(polish(nearly))) < 1e-5
        True
    """
    return 1.5 * directions - 0.5 * directions @ directions.T @ directions


def nearest_rotation(directions: Tensor) -> Tensor:
    """The orthonormal `(D, D)` whose rows are nearest to given ones, `U V^T` of `U S V^T` (Schoenemann 1966).

    Args:
        directions: `(I, D)`, at most D; where there are fewer, what they leave free is arbitrary.

    Raises:
        ValueError: if there are more directions than dimensions.

    Example:
        >>> nearest_rotation(torch.tensor([[0.0, 3.0], [-2.0, 0.0]])).round(decimals=3).abs().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    num, size = directions.shape
    if num > size:
        raise ValueError(f"expected at most {size} directions, got {num}")
    square = torch.cat([directions.double(), directions.new_zeros(size - num, size).double()])
    left, _, right = torch.linalg.svd(square)
    nearest: Tensor = (left @ right).to(directions.dtype)
    return nearest


def orthogonality_error(directions: Tensor) -> Tensor:
    """Largest entry of `|W W^T - I|`, shape `()`.

    Example:
        >>> float(orthogonality_error(torch.eye(3)))
        0.0
    """
    return (directions @ directions.T - _eye_like(directions)).abs().max()


def random_rotation(size: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """A rotation drawn uniformly (Haar measure, determinant +1), shape `(size, size)`.

    Example:
        >>> drawn = random_rotation(4, torch.Generator().manual_seed(0))
        >>> round(float(torch.linalg.det(drawn)), 6)
        1.0
    """
    normal = torch.randn(size, size, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal().sign()
    q[0] *= torch.linalg.det(q).sign()
    drawn: Tensor = q.to(dtype)
    return drawn


def _eye_like(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
