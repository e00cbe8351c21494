"""Length and sign of directions that come without."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["towards_positive_skewness", "unit_rows"]


def unit_rows(rows: Tensor) -> Tensor:
    """Rows scaled to unit norm, as float32; rows of zeros are left out, as they point nowhere.

    Args:
        rows: `(n, D)`.

    Returns:
        `(I, D)` float32, `I <= n`.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000]])
    """
    norms = torch.linalg.vector_norm(rows.double(), dim=1)
    kept = norms > 0
    scaled: Tensor = rows[kept] / norms[kept, None]
    return scaled.float()


def towards_positive_skewness(directions: Tensor, blocks: Iterable[Tensor], mean: Tensor) -> Tensor:
    """Turn each direction so that the long tail of its projections is the upper one.

    A detector fires above its threshold, and a concept shows at few pixels, strongly: it is a long tail.
    Methods that determine a direction up to sign would otherwise lose half of their detectors to chance.

    Args:
        directions: `(I, D)` float32.
        blocks: pixels, `(P, D)` float32 each.
        mean: of the pixels, `(D,)`.

    Returns:
        `(I, D)`, each row as it was or negated; as it was where the third central moment is 0.

    Example:
        >>> pixels = torch.tensor([[0.0], [0.0], [0.0], [-4.0]])
        >>> towards_positive_skewness(torch.tensor([[1.0]]), [pixels], pixels.mean(0))
        tensor([[-1.]])
    """
    third = torch.zeros(len(directions), dtype=torch.float64, device=directions.device)
    for block in blocks:
        projections = (block - mean.to(block.dtype)) @ directions.T
        third += (projections * projections * projections).sum(0, dtype=torch.float64)
    return torch.where(third[:, None] < 0, -directions, directions)
