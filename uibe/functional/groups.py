"""Bootstrap over groups of images: the frames of a film, the photographs of a place."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from uibe.functional.intervals import poisson_weights

__all__ = ["FEW_GROUPS", "Grouping", "effective_groups", "group_weights"]

FEW_GROUPS = 20
"""From fewer groups intervals are rough, and most are still too narrow.

Their spread is that of the few that are there. Of three, one replicate in `e^3 = 20` draws none: the IoU of a
label that is in these alone is 0 there, and an end of its interval means nothing.
"""


def group_weights(groups: Tensor, replicates: int, seed: int) -> Tensor:
    """As `poisson_weights`, with one draw for all images of a group, `(1 + B, N)` uint8.

    The bootstrap of clusters (Davison and Hinkley 1997, section 3.8, with whole clusters drawn and nothing
    drawn within), and of blocks that do not overlap where groups are stretches of a film (Carlstein 1986,
    Künsch 1989). It holds where images depend on each other within a group and not beyond. With each image a
    group of its own, in order, the draws are those of `poisson_weights`.

    Args:
        groups: `(N,)` int64, the group of each image, numbered from 0.
        replicates: B.
        seed: of the draws.

    Example:
        >>> weights = group_weights(torch.tensor([0, 0, 1]), replicates=50, seed=0)
        >>> weights.shape, torch.equal(weights[:, 0], weights[:, 1])
        (torch.Size([51, 3]), True)
    """
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    return poisson_weights(num_groups, replicates, seed)[:, groups]


def effective_groups(groups: Tensor) -> float:
    """How many groups of one size would count as much: `(sum of n)^2 / sum of n^2` over sizes n.

    Kish's effective sample size (1965). A mean over images has a variance of about one group's over it, if
    the images of a group are alike.

    Args:
        groups: `(N,)` int64, the group of each image, numbered from 0; N at least 1.

    Example:
        >>> effective_groups(torch.tensor([0, 1, 2, 3])), effective_groups(torch.tensor([0, 0, 0, 1]))
        (4.0, 1.6)
    """
    sizes = torch.bincount(groups).double()
    return float(sizes.sum().square() / sizes.square().sum())


class Grouping(NamedTuple):
    """How the images of a split are drawn in groups, to be told beside the intervals.

    Attributes:
        group_by: the regular expression that took the groups from the images' paths.
        groups: how many there are.
        single: how many of them hold one image only.
        effective: see `effective_groups`.
    """

    group_by: str
    groups: int
    single: int
    effective: float

    @classmethod
    def of(cls, group_by: str, groups: Tensor) -> Self:
        """The summary of groups.

        Args:
            group_by: where they are from.
            groups: `(N,)` int64, the group of each image, numbered from 0.

        Example:
            >>> Grouping.of("^film(.)", torch.tensor([0, 0, 1]))
            Grouping(group_by='^film(.)', groups=2, single=1, effective=1.8)
        """
        sizes = torch.bincount(groups)
        return cls(group_by, len(sizes), int((sizes == 1).sum()), effective_groups(groups))
