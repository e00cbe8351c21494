"""Command lines: lists written as words, `--bases natural pca`, and one line for what is no option."""

import difflib
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from inspect import signature
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

__all__ = ["Parser", "with_lists"]

_NESTED = re.compile(r"class_path '([\w.]+)\.(\w+)':\s+Option '(\w+)' is not accepted")
_CHOICE = re.compile(r"invalid choice: '([^']*)'")


class Parser(ArgumentParser):
    """Options in full, no beginnings of them; what is no option is one line with the closest one.

    Other errors, of values, keep the usage text above them. The exit code is 2 either way.

    Example:
        >>> parser = Parser(prog="evaluate.py")
        >>> _ = parser.add_argument("--image")
        >>> parser.parse_args(["--imgae", "a.png"])
        Traceback (most recent call last):
        SystemExit: 2
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - jsonargparse's signature
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._words: list[str] = []

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End the program with one line if an option is mistyped, and as before otherwise."""
        line = self._mistyped(message)
        if line is None:
            super().error(message, ex)
        self.exit(2, f"error: {line}\n")

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Parse; the arguments are kept for messages."""
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_args(args, *rest, **kwargs)

    def _mistyped(self, message: str) -> str | None:
        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            kind = "no such option" if word.startswith("-") else "expected an option here"
            where, options = self._command()
            return f"{word}: {kind} of {where}{_closest(word, options)}; see {where} --help"
        if message.startswith("the following arguments are required: "):
            missing = re.sub(r"[\w]+\.", "", message.removeprefix("the following arguments are required: "))
            where, _ = self._command()
            return (
                f"{where}: give {', '.join(f'--{name}' for name in missing.split(', '))}; see {where} --help"
            )
        nested = _NESTED.search(message)
        if nested:
            group = next((word for word in self._words if word.endswith(f".{nested[3]}")), f"--{nested[3]}")
            options = [f"{group.rpartition('.')[0]}.{name}" for name in _parameters(nested[1], nested[2])]
            return f"{group}: no such option{_closest(group, options)}"
        choice = _CHOICE.search(message)
        if choice and "subcommand" in message:
            return (
                f"{choice[1]}: no such command{_closest(choice[1], self._commands())}; see {self.prog} --help"
            )
        return None

    def _commands(self) -> dict[str, ArgumentParser]:
        """Parsers of the subcommands by name."""
        found = [action.choices for action in self._actions if isinstance(action.choices, dict)]
        return found[0] if found else {}

    def _command(self) -> tuple[str, list[str]]:
        """The command as it is called, and its options."""
        name = next((word for word in self._words if word in self._commands()), None)
        parser = self if name is None else self._commands()[name]
        options = [option for option in parser._option_string_actions if not option.endswith("+")]
        return parser.prog.replace(" [options]", ""), [*options, "--debug"]


def _parameters(module: str, name: str) -> Iterable[str]:
    return signature(getattr(sys.modules[module], name)).parameters


def _closest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


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
