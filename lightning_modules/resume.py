"""Finding the run that a command line belongs to."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_modules.checkpoint import read_checkpoint
from uibe.errors import ConfigError, MismatchError

__all__ = ["Found", "run_to_resume"]

# what decides the result; where caches lie and on how many processes it is learned do not
_DECISIVE = ("seed_everything", "model", "data", "dissection")
_LIMITS = ("max_epochs", "max_steps", "limit_train_batches", "precision", "gradient_clip_val")
_MANY = 100_000  # values, more than any config has
_PLACES = ("cache_dir", "num_workers", "shuffle_megabytes", "batch_size")


class Found(NamedTuple):
    """A run to go on with.

    Attributes:
        checkpoint: its newest sound checkpoint.
        version: name of its folder, for the logger.
    """

    checkpoint: Path
    version: str


def run_to_resume(options: Mapping[str, Any]) -> Found | None:
    """The newest run with the same options that has a sound checkpoint; None if there is none.

    A run is a folder that the logger of `options` writes to, with the `config.yaml` of its command line. Two
    runs are the same if model, data, seed, dissection and length are; the one of the highest number is the
    newest. Of a run `last.ckpt` is taken, or the next one that can be read, at last `previous.ckpt`.

    Args:
        options: of a command line, as `config.yaml` holds them.

    Raises:
        ConfigError: if no logger says where runs are.
    """
    logger = options["trainer"].get("logger")
    first = logger[0] if isinstance(logger, list) and logger else logger
    places = first.get("init_args", {}) if isinstance(first, Mapping) else {}
    if not places.get("save_dir"):
        raise ConfigError(
            "--resume auto: looks below the logger's save_dir; give the trainer a logger with one"
        )
    runs = Path(places["save_dir"]) / (places.get("name") or "")
    for checkpoint in sorted(runs.glob("*/checkpoints/*.ckpt"), key=_newness, reverse=True):
        folder = checkpoint.parents[1]
        if _decisive(_options_of(folder)) == _decisive(options) and _sound(checkpoint):
            return Found(checkpoint, folder.name)
    return None


def _newness(path: Path) -> tuple[int, int, float, str]:
    """Later runs first, and what `RunCheckpoint` calls its last one: clocks may go back, numbers do not."""
    number = path.parents[1].name.removeprefix("version_")
    rank = {"previous.ckpt": 0, "last.ckpt": 2}.get(path.name, 1)
    changed = path.stat().st_mtime if path.exists() else 0.0
    return int(number) if number.isdecimal() else -1, rank, changed, path.name


def _values(tree: object) -> Iterator[object]:
    """All values of nested maps and lists, as often as they are reached."""
    yield tree
    for inner in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _values(inner)


def _options_of(folder: Path) -> Mapping[str, Any]:
    try:
        read = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        # aliases can make a few lines huge, or contain themselves
        if sum(1 for _ in islice(_values(read), _MANY)) == _MANY:
            return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return {}
    return _map(read)


def _decisive(options: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: options.get(name) for name in _DECISIVE}
    trainer, data = _map(options.get("trainer")), dict(_map(chosen["data"]))
    arguments = _map(data.get("init_args"))
    data["init_args"] = {name: value for name, value in arguments.items() if name not in _PLACES}
    limits = {name: trainer.get(name) for name in _LIMITS}
    return _without_nulls({**chosen, "data": data, "trainer": limits})


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _without_nulls(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options less those that are null, which a dump may leave out."""
    kept = ((name, value) for name, value in options.items() if value is not None)
    return {name: _without_nulls(value) if isinstance(value, Mapping) else value for name, value in kept}


def _sound(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except (ConfigError, MismatchError):  # the first if it vanishes just now
        return False
    return True
