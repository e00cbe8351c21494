"""Markdown: tables, and differences with their intervals."""

from collections.abc import Sequence

__all__ = ["cell", "code", "literal", "ranged", "signed", "table"]


def ranged(value: float, low: float, high: float, corrected: float | None = None, sign: str = "") -> str:
    """An estimate with its interval, and the corrected estimate where there is one to be told.

    Args:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        corrected: see `uibe.functional.intervals.Interval`; None for scores without a bias.
        sign: "+" writes the sign of positive numbers too.

    Example:
        >>> ranged(1.0, 0.5, 2.0), ranged(4.66, 4.1, 4.52, 4.314)
        ('1.00 [0.50, 2.00]', '4.66, corrected 4.31 [4.10, 4.52]')
    """
    number = f"{sign}.2f"
    text = f"{value:{number}}" if corrected is None else f"{value:{number}}, corrected {corrected:{number}}"
    return f"{text} [{low:{number}}, {high:{number}}]"


def signed(value: float, low: float, high: float, corrected: float | None = None) -> str:
    """A difference with its interval, bold where 0 is outside.

    Example:
        >>> signed(1.0, 0.5, 2.0), signed(-0.25, -1.0, 0.5)
        ('**+1.00 [+0.50, +2.00]**', '-0.25 [-1.00, +0.50]')
    """
    text = ranged(value, low, high, corrected, "+")
    return f"**{text}**" if low > 0 or high < 0 else text


def cell(text: object) -> str:
    r"""A text of others as one cell of a table: no line break, no other cell, no HTML, no link, no picture.

    Example:
        >>> cell("a|b"), cell("<b>"), cell("![](//x)")
        ('a\\|b', '&lt;b>', '!\\[](//x)')
    """
    line = " ".join(str(text).split())
    for mark in "|[`":
        line = line.replace(mark, f"\\{mark}")
    return line.replace("<", "&lt;")


def code(text: object) -> str:
    """A text of others in type that Markdown leaves as it is, in a cell of a table too.

    Example:
        >>> code("a`b"), code("layer|2")
        ("`a'b`", '`layer/2`')
    """
    return literal(str(text).replace("|", "/"))


def literal(text: str) -> str:
    """As `code`, outside of tables.

    Example:
        >>> literal("(film|scene)_")
        '`(film|scene)_`'
    """
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line}`"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table.

    Example:
        >>> table(["a"], [["1"]]).splitlines()
        ['| a |', '| --- |', '| 1 |']
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
