"""A look at configs before the command line's parser, or anybody else, reads them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import get_loader, set_loader

from uibe.errors import ConfigError

__all__ = ["bound_parsers", "check_configs", "read_config"]

_MOST = 100_000  # values; the largest config of this project has about 200
_DEEPEST = 50  # one within the other; the deepest has 5, and a parser goes down several frames for each
_parsers_own = get_loader("yaml")


def check_configs(arguments: Sequence[str]) -> None:
    """Refuse config files that the command line's parser would not come to an end with.

    A kilobyte of aliases of aliases stands for billions of values, one within itself for endlessly many. What
    else is wrong with a file, the parser says.

    Args:
        arguments: of a command line.

    Raises:
        ConfigError: if a file is not UTF-8, has too many values, or its values lie too deep, or one is a day
            that is none.
    """
    for path in _paths(arguments):
        try:
            read_config(path)
        except UnicodeDecodeError as error:
            raise ConfigError(f"--config {path}: {error}; save it as UTF-8") from error
        except (OSError, yaml.YAMLError):
            continue
        except ConfigError as error:
            raise ConfigError(f"--config {path}: {error}") from error
        except ValueError as error:  # what looks like a date and is none
            raise ConfigError(f"--config {path}: {error}; put quotes around what is text") from error


def read_config(path: Path) -> Any:  # noqa: ANN401 - whatever is in it
    """The content of a YAML file, unless it stands for more values than any config has.

    Raises:
        ConfigError: if it has too many values, or they lie too deep.
        OSError, ValueError, yaml.YAMLError: if it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    _check_size(text)
    return yaml.safe_load(text)


def bound_parsers() -> None:
    """Have all that command lines read as YAML looked at before, also files that an option names.

    Of a config's values `check_configs` speaks in one line; this is for `--model FILE` and the like.
    """

    def load(text: str) -> Any:  # noqa: ANN401 - jsonargparse's signature
        _check_size(text)
        return _parsers_own(text)

    set_loader("yaml", load, (yaml.YAMLError,))


def _check_size(text: str) -> None:
    """Refuse YAML before its aliases and merges (`<<`), which copy what they name, are resolved."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        extent = _Extent(0, 0) if node is None else _extent(node, {})
    except RecursionError:
        extent = _Extent(0, _DEEPEST + 1)
    if extent.depth > _DEEPEST:
        raise ConfigError("nested too deep, or a value within itself: write it out")
    if extent.values > _MOST:
        raise ConfigError(f"its aliases make more than {_MOST} values: write them out")


def _paths(arguments: Sequence[str]) -> Iterator[Path]:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, value = argument.partition("=")
        if name in ("--config", "-c"):
            yield Path(value or following)


class _Extent(NamedTuple):
    """How many values a node stands for, each alias counted as what it repeats, and how deep they lie."""

    values: int
    depth: int


def _extent(node: yaml.Node, known: dict[int, _Extent]) -> _Extent:
    if id(node) not in known:
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
        inner = node.value if isinstance(node, yaml.SequenceNode) else inner
        parts = [_extent(part, known) for part in inner]
        depth = 1 + max((part.depth for part in parts), default=0)
        known[id(node)] = _Extent(1 + sum(part.values for part in parts), depth)
    return known[id(node)]
