"""Finding the run that a command line belongs to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.configs import read_config
from uibe.errors import ConfigError, MismatchError

__all__ = ["Found", "run_to_resume"]

# what decides the result; where caches lie, on how many processes it is learned and how an evaluation draws
# its replicates do not
_DECISIVE = ("seed_everything", "model", "data", "dissection")
_LIMITS = ("max_epochs", "max_steps", "limit_train_batches", "precision", "gradient_clip_val")
_PLACES = ("cache_dir", "num_workers", "shuffle_megabytes", "batch_size", "group_by")


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
    wanted = _decisive(options)
    found = filter(Path.is_file, runs.glob("*/checkpoints/*.ckpt"))
    for checkpoint in sorted(found, key=_newness, reverse=True):
        folder = checkpoint.parents[1]
        if _alike(_decisive(_options_of(folder)), wanted) and _sound(checkpoint):
            return Found(checkpoint, folder.name)
    return None


def _newness(path: Path) -> tuple[int, int, float, str]:
    """Later runs first, and what `RunCheckpoint` calls its last one: clocks may go back, numbers do not."""
    number = path.parents[1].name.removeprefix("version_")
    rank = {"previous.ckpt": 0, "last.ckpt": 2}.get(path.name, 1)
    changed = path.stat().st_mtime if path.exists() else 0.0
    return int(number) if number.isdecimal() else -1, rank, changed, path.name


def _options_of(folder: Path) -> Mapping[str, Any]:
    try:
        read = read_config(folder / "config.yaml")
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return read if isinstance(read, Mapping) else {}


def _decisive(options: Mapping[str, Any]) -> dict[str, Any]:
    data, trainer = _part(options, "data"), _part(options, "trainer")
    arguments = {name: value for name, value in _part(data, "init_args").items() if name not in _PLACES}
    limits = {name: trainer.get(name) for name in _LIMITS}
    chosen = {name: options.get(name) for name in _DECISIVE}
    return {**chosen, "data": {**data, "init_args": arguments}, "trainer": limits}


def _part(options: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Nested options; none if a file that was tampered with has something else there."""
    part = options.get(name)
    return part if isinstance(part, Mapping) else {}


def _alike(found: object, wanted: object) -> bool:
    """Whether options are the same, less those that are null, which a dump may leave out.

    What was found is looked into only as far as it agrees: aliases can make it endless.
    """
    if not (isinstance(found, Mapping) and isinstance(wanted, Mapping)):
        return found == wanted
    given = [name for each in (wanted, found) for name, value in each.items() if value is not None]
    return all(_alike(found.get(name), wanted.get(name)) for name in given)


def _sound(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except (ConfigError, MismatchError):  # the first if it vanishes just now
        return False
    return True
