"""How images were drawn for the intervals, in words."""

from collections.abc import Callable, Mapping

from uibe.errors import printable
from uibe.functional.groups import FEW_GROUPS, Grouping
from uibe.report.markdown import literal

__all__ = ["drawn_note", "read_grouping"]


def drawn_note(grouping: Grouping | None, quote: Callable[[str], str] = literal) -> str:
    """What intervals take as independent, and whether that makes them too narrow; whole sentences.

    Args:
        grouping: how images are drawn, None for each by itself.
        quote: marks code; by default for Markdown, outside of tables.

    Example:
        >>> drawn_note(None, str)  # doctest: +ELLIPSIS
        'Intervals take images as independent. Neighbouring frames of a film are not: with many of them, ...
        >>> drawn_note(Grouping("^f.", groups=30, single=4, effective=26.5))
        'Images are drawn in 30 groups by `group_by` `^f.`, 4 of them single; they count as 26 of one size.'
    """
    if grouping is None:
        return (
            "Intervals take images as independent. Neighbouring frames of a film are not: with many of them, "
            f"intervals are too narrow; {quote('data.group_by')} draws them together."
        )
    single = f", {grouping.single:,} of them single" if grouping.single else ""
    count = int(grouping.effective)
    alike = f"; they count as {count:,} of one size" if count < grouping.groups else ""
    few = (
        f" From fewer than {FEW_GROUPS} groups intervals are rough, and most are still too narrow."
        if grouping.effective < FEW_GROUPS
        else ""
    )
    by = f"by {quote('group_by')} {quote(printable(grouping.group_by))}"
    return f"Images are drawn in {grouping.groups:,} groups {by}{single}{alike}.{few}"


def read_grouping(found: object) -> Grouping | None:
    """What a JSON file says of the groups, None if there were none.

    Args:
        found: a dictionary with the fields of `Grouping`, or None.

    Raises:
        ValueError: if it is something else.

    Example:
        >>> read_grouping({"group_by": "^film(.)", "groups": 30, "single": 4, "effective": 26.5})
        Grouping(group_by='^film(.)', groups=30, single=4, effective=26.5)
        >>> read_grouping({"groups": 30})
        Traceback (most recent call last):
            ...
        ValueError: expected groups with group_by, groups, single, effective
    """
    if found is None:
        return None
    if isinstance(found, Mapping) and set(found) == set(Grouping._fields):
        group_by, groups, single, effective = (found[name] for name in Grouping._fields)
        whole = isinstance(groups, int) and isinstance(single, int) and 0 <= single <= groups
        number = isinstance(effective, int | float) and 1 <= effective <= groups
        if isinstance(group_by, str) and whole and number:
            return Grouping(group_by, groups, single, float(effective))
    raise ValueError(f"expected groups with {', '.join(Grouping._fields)}")
