"""Markdown: tables, and differences with their intervals."""

from collections.abc import Sequence

__all__ = ["signed", "table"]


def signed(value: float, low: float, high: float) -> str:
    """A difference with its interval, bold where 0 is outside.

    Example:
        >>> signed(1.0, 0.5, 2.0), signed(-0.25, -1.0, 0.5)
        ('**+1.00 [+0.50, +2.00]**', '-0.25 [-1.00, +0.50]')
    """
    text = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    Example:
        >>> table(["a"], [["1"]]).splitlines()
        ['| a |', '| --- |', '| 1 |']
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
