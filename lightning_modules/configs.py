"""A look at config files before the command line reads them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from uibe.errors import ConfigError

__all__ = ["check_configs"]

_MOST = 100_000  # values; the largest config of this project has about 200


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
            text = path.read_text(encoding="utf-8")
            node = yaml.compose(text, yaml.SafeLoader)
            too_many = node is not None and _count(node, {}) > _MOST
            if not too_many:
                yaml.safe_load(text)
        except UnicodeDecodeError as error:
            raise ConfigError(f"--config {path}: {error}; save it as UTF-8") from error
        except (OSError, yaml.YAMLError):
            continue
        except ValueError as error:  # what looks like a date and is none
            raise ConfigError(f"--config {path}: {error}; put quotes around what is text") from error
        except RecursionError as error:
            raise ConfigError(f"--config {path}: nested too deep, or a value within itself") from error
        if too_many:
            raise ConfigError(f"--config {path}: its aliases make more than {_MOST} values: write them out")


def _paths(arguments: Sequence[str]) -> Iterator[Path]:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, value = argument.partition("=")
        if name == "--config":
            yield Path(value or following)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, each alias counted as what it repeats."""
    if id(node) not in known:
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
        inner = node.value if isinstance(node, yaml.SequenceNode) else inner
        known[id(node)] = 1 + sum(_count(part, known) for part in inner)
    return known[id(node)]
