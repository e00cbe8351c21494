"""The value that a share of a column's rows exceeds, by sorting."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["column_quantiles"]


def column_quantiles(rows: npt.NDArray[Any], share: float) -> list[float]:
    """For each column the `floor(share * P)`-th largest value, counting from 0."""
    position = int(np.floor(share * len(rows)))
    return [sorted((float(value) for value in column), reverse=True)[position] for column in rows.T]
