"""The learned rotation: a parametrized layer whose weight is orthogonal by construction."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from uibe.errors import ConfigError
from uibe.functional import orthogonal
from uibe.functional.orthogonal import ROTATION_MAPS, RotationMap

__all__ = ["STARTS", "Rotation", "Start", "is_rotation"]

Start = Literal["identity", "random", "pca"]
STARTS: tuple[Start, ...] = get_args(Start)


_ROUNDING = {torch.float64: 1e-3, torch.float32: 1e-3}  # of other types, which keep two or three digits, 0.1


def is_rotation(directions: Tensor) -> bool:
    """Whether directions that were read from a file are finite and orthonormal, as far as their type can say.

    Example:
        >>> is_rotation(torch.eye(3)), is_rotation(2 * torch.eye(3))
        (True, False)
    """
    error = orthogonal.orthogonality_error(directions.double())
    return bool(error < _ROUNDING.get(directions.dtype, 0.1))


class Rotation(nn.Module):
    """Orthonormal directions `W = map(A) base`, rows are directions; the parameter is the generator of `A`.

    The base can be moved to the current rotation (`rebase`), whereupon `A` starts again from 0: a static
    base stalls far from the start. Entry (i, j) of `A` turns direction i towards direction j.

    Args:
        num_features: D = I.
        rotation_map: see `uibe.functional.orthogonal.rotation`.

    Raises:
        ConfigError: if the map is unknown.

    Example:
        >>> turned = Rotation(3)
        >>> _ = torch.nn.init.normal_(turned.generator)
        >>> bool(orthogonal.orthogonality_error(turned()) < 1e-5)
        True
    """

    base: Tensor

    def __init__(self, num_features: int, rotation_map: RotationMap = "cayley") -> None:
        super().__init__()
        if rotation_map not in ROTATION_MAPS:
            raise ConfigError(
                f"rotation_map: expected one of {', '.join(ROTATION_MAPS)}, got {rotation_map!r}"
            )
        self.rotation_map: RotationMap = rotation_map
        self.generator = nn.Parameter(torch.zeros(num_features, num_features))
        self.register_buffer("base", torch.eye(num_features))

    def forward(self) -> Tensor:
        """The directions, `(I, D)` orthonormal rows; never in reduced precision."""
        with torch.autocast(self.generator.device.type, enabled=False):
            return orthogonal.rotation(self.generator, self.rotation_map) @ self.base

    @torch.no_grad()
    def start_from(self, directions: Tensor) -> None:
        """Make `directions`, `(D, D)` orthogonal, the current rotation."""
        self.base.copy_(directions)
        self.generator.zero_()

    @torch.no_grad()
    def rebase(self, max_angle: float | None = None, polish: bool = True) -> None:
        """Make the current rotation the base.

        Args:
            max_angle: bound on the turn since the last base, see `uibe.functional.orthogonal.limit_angle`.
            polish: add a Newton-Schulz step, which keeps rounding from adding up over thousands of calls;
                one call in 16 will do.
        """
        if max_angle is not None:
            self.generator.copy_(orthogonal.limit_angle(self.generator, max_angle))
        self.start_from(orthogonal.polish(self()) if polish else self())
