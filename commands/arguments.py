"""Lists on the command line, written as words: `--bases natural pca`."""

import json
from collections.abc import Collection, Iterator, Sequence

__all__ = ["with_lists"]


def with_lists(args: Sequence[str], options: Collection[str]) -> list[str]:
    """Join the words after each of the given options into one list, as the parser reads it.

    Args:
        args: of a command line.
        options: whose values are lists; `[a, b]`, which the parser knows, stays as it is.

    Example:
        >>> with_lists(["--bases", "pca", "ica", "--shares", "0.1", "--out", "a"], {"--bases", "--shares"})
        ['--bases=["pca", "ica"]', '--shares=[0.1]', '--out', 'a']
    """
    return list(_joined(list(args), options))


def _joined(args: list[str], options: Collection[str]) -> Iterator[str]:
    while args:
        name, equals, first = args.pop(0).partition("=")
        if name not in options:
            yield name + equals + first
            continue
        words = [first] if equals else []
        while args and not args[0].startswith("-"):
            words.append(args.pop(0))
        single = len(words) == 1 and words[0].startswith("[")
        yield f"{name}={words[0]}" if single else f"{name}={json.dumps([_value(word) for word in words])}"


def _value(word: str) -> str | float:
    try:
        return float(word)
    except ValueError:
        return word
