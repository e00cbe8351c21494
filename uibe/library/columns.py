"""Tables for people to read, as text."""

from collections.abc import Sequence

__all__ = ["columns"]


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns stand below each other.

    Example:
        >>> columns(["concept", "IoU"], [["sky", "0.5"]])
        ['concept  IoU', 'sky      0.5']
    """
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
