"""Groups of images that depend on each other, told by their paths."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from uibe.errors import ConfigError, DataError

__all__ = ["check_group_by", "image_groups"]

_REMEDY = "correct it, or give an empty one to take each image by itself"


def check_group_by(group_by: str | None) -> None:
    r"""Refuse what is no regular expression; None and an empty one mean no groups.

    Raises:
        ConfigError: it cannot be read.

    Example:
        >>> check_group_by(r"^camvid/(\w+)_")
        >>> check_group_by("(")
        Traceback (most recent call last):
            ...
        uibe.errors.ConfigError: data.group_by: '(' is no regular expression (missing ), ...
    """
    _compiled(group_by or "")


def image_groups(names: Sequence[str], group_by: str, where: str) -> Tensor:
    r"""The group of each image, `(N,)` int64, numbered from 0 in the order of their first images.

    Args:
        names: paths of N images as in index.csv.
        group_by: regular expression that is searched in each path. What its first group captures, or the
            whole match if it has none, is the image's group. An image that it does not match, or of which it
            captures nothing, is a group by itself.
        where: the images that these are, for messages.

    Raises:
        ConfigError: the expression cannot be read.
        DataError: it matches no image, or puts all into one group.

    Example:
        >>> image_groups(["a/1.jpg", "b/1.jpg", "c.jpg", "a/2.jpg", "d.jpg"], r"^(\w)/", "split val").tolist()
        [0, 1, 2, 0, 3]
    """
    pattern = _compiled(group_by)
    found = [pattern.search(name) for name in names]
    captured = [each[min(1, pattern.groups)] if each else None for each in found]
    if not any(captured):
        raise DataError(
            f"data.group_by: {group_by!r} matches no image of {where}, such as {names[0]!r}; {_REMEDY}"
        )
    # single images are numbers among the texts, so that none is taken for a group of that name
    keys = [text or place for place, text in enumerate(captured)]
    number = {key: count for count, key in enumerate(dict.fromkeys(keys))}
    if len(number) < 2:
        raise DataError(
            f"data.group_by: {group_by!r} puts all images of {where} into one group, expected two or more; "
            f"{_REMEDY}"
        )
    return torch.tensor([number[key] for key in keys])


def _compiled(group_by: str) -> re.Pattern[str]:
    try:
        return re.compile(group_by)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"data.group_by: {group_by!r} is no regular expression ({error}); {_REMEDY}"
        ) from error
