"""Whether a direction adds to a logit because there is more of it than on average, or because there is less.

A contribution is `sum_p (g_p A^+)_i (A (x_p - mu))_i` (`uibe.functional.explanation`), with any head. So its
baseline is `mu`, the mean feature that the constant holds. The level of direction `i` is its projection
pooled over the picture, `l_i = mean_p (A (x_p - mu))_i`. Where only pooling and a linear layer follow, the
contribution is `l_i` times what the class gains from the direction: levels of either sign may speak for it.
"""

from typing import NamedTuple

from torch import Tensor

from uibe.functional.explanation import Coordinates

__all__ = ["LevelSplit", "levels", "split_by_level"]


class LevelSplit(NamedTuple):
    """Contributions by the sign of their directions' levels: `contributions = above + below`.

    Attributes:
        above: of directions that are at their mean or above it, 0 elsewhere.
        below: of directions that are below their mean, 0 elsewhere.
    """

    above: Tensor
    below: Tensor


def levels(features: Tensor, basis: Coordinates) -> Tensor:
    """Projections pooled over the picture, around the mean: `l_i = mean_p (A (x_p - mu))_i`.

    Args:
        features: `(N, D, H, W)`.
        basis: of I directions, whose type the result has.

    Returns:
        `(N, I)`.

    Example:
        >>> import torch
        >>> basis = Coordinates(2 * torch.eye(1), torch.eye(1) / 2, torch.tensor([5.0]))
        >>> levels(torch.tensor([3.0, 5.0]).view(1, 1, 1, 2), basis).tolist()
        [[-2.0]]
    """
    return (features.to(basis.mean).mean((2, 3)) - basis.mean) @ basis.directions.T


def split_by_level(contributions: Tensor, level: Tensor) -> LevelSplit:
    """Contributions of directions that are above their mean in a picture, and of those below it.

    Args:
        contributions: `(..., I)`.
        level: `(I,)`, as `levels` gives them for the same picture and basis.

    Example:
        >>> import torch
        >>> found = split_by_level(torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 0.1, -4.0]))
        >>> found.above.tolist(), found.below.tolist()
        ([1.0, -2.0, 0.0], [0.0, 0.0, 3.0])
    """
    is_below = level < 0
    return LevelSplit(contributions.masked_fill(is_below, 0), contributions.masked_fill(~is_below, 0))
