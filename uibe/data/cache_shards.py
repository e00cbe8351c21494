"""Writing the shards of a feature cache, by one process or by several at once.

Each shard is written under a temporary name and renamed when whole, and a folder gets its final name when all
of its shards are there: neither is ever half written under its name. What a killed process leaves behind is
hidden (a name that begins with a dot) and never read; of `.<digest>.partial`, the finished shards are used.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from uibe.data.cache_folder import META_NAME, CacheKey, Layout, meta_text
from uibe.data.shard_file import FeatureStream, disk_errors, write_shard
from uibe.errors import DataError, MismatchError
from uibe.files import hidden_name, write_whole
from uibe.functional.processes import long_barrier, rank, shared_text, world_size

__all__ = ["FeaturesOf", "temporary_sibling", "write_stream", "write_together"]

FeaturesOf = Callable[[Sequence[range]], Generator[Tensor]]
"""Features (n, D, H, W) of ranges of image rows, one range after the other."""


def write_stream(
    path: Path, key: CacheKey, num_images: int, batches: Iterable[Tensor], images_per_shard: int | None
) -> None:
    """Write all batches in one pass and publish them under `path`, unless another process was faster.

    Args:
        path: the folder to create; its parents are created too.
        key: stored beside the features; its `dtype` is the storage type.
        num_images: N, how many images the batches hold together.
        batches: features (n, D, H, W) of any floating type and device, in the order of the images.
        images_per_shard: see `Layout.plan`.

    Raises:
        DataError: see `uibe.data.cache.fill`.
    """
    stream = FeatureStream(path, batches, num_images)
    with temporary_sibling(path) as temporary:
        num_features, height, width = stream.sizes()
        layout = Layout.plan((num_images, height, width, num_features), key["dtype"], images_per_shard)
        _check_space(path, layout, range(layout.num_shards))
        _write_meta(temporary, path, meta_text(key, layout))
        for shard in range(layout.num_shards):
            write_shard(temporary, path, layout, shard, stream)
        stream.finish()
        _rename(temporary, path)


def write_together(path: Path, key: CacheKey, layout: Layout, features_of: FeaturesOf) -> None:
    """Write the shards that are missing, each process its part of them, and publish the folder `path`.

    Args:
        path: the folder to create, on a disk that all processes share.
        key: stored beside the features.
        layout: how to divide the images.
        features_of: computes the features of some shards.

    Raises:
        DataError: see `uibe.data.cache.fill`.
        MismatchError: shards of an earlier call are of another layout.
    """
    partial = path.with_name(f".{path.name}.partial")
    # one process looks for all: a run beside this one may finish shards between two looks
    missing = _agreed(_prepare(partial, path, key, layout) if rank() == 0 else None)
    if missing is None:
        return
    begin, end = (len(missing) * share // world_size() for share in (rank(), rank() + 1))
    with long_barrier() as wait:
        with _unless_published(path), _empty_folder_removed(partial):
            _write_part(partial, path, layout, missing[begin:end], features_of)
        wait()
        if rank() == 0:
            _publish(partial, path, layout)
        wait()


def _agreed(missing: list[int] | None) -> list[int] | None:
    """What the first process found."""
    agreed: list[int] | None = json.loads(shared_text(json.dumps(missing)))
    return agreed


def _prepare(partial: Path, path: Path, key: CacheKey, layout: Layout) -> list[int] | None:
    """The shards that the partial folder, made if absent, still lacks; None if the cache is complete."""
    if path.is_dir():
        return None
    with _unless_published(path), _empty_folder_removed(partial):
        with disk_errors(path):
            partial.mkdir(parents=True, exist_ok=True)
        _write_meta(partial, path, meta_text(key, layout))
        missing = [shard for shard in range(layout.num_shards) if not _is_whole(partial, layout, shard)]
        _check_space(path, layout, missing)
        return missing
    return None


@contextlib.contextmanager
def _unless_published(path: Path) -> Iterator[None]:
    """Another run may rename the partial folder while this one writes into it: that is no error."""
    try:
        yield
    except DataError as error:
        if not (isinstance(error.__cause__, FileNotFoundError) and path.is_dir()):
            raise


@contextlib.contextmanager
def _empty_folder_removed(partial: Path) -> Iterator[None]:
    """Leave nothing after an error before the first shard was whole, unless others are about to write."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if world_size() == 1 and {file.name for file in partial.iterdir()} <= {META_NAME}:
                (partial / META_NAME).unlink(missing_ok=True)
                partial.rmdir()
        raise


def _write_part(
    partial: Path, path: Path, layout: Layout, shards: Sequence[int], features_of: FeaturesOf
) -> None:
    if not shards:
        return
    parts = [layout.rows(shard) for shard in shards]
    with contextlib.closing(features_of(parts)) as batches:
        stream = FeatureStream(path, batches, sum(map(len, parts)))
        for shard in shards:
            write_shard(partial, path, layout, shard, stream)
        stream.finish()


def _is_whole(folder: Path, layout: Layout, shard: int) -> bool:
    file, header = folder / layout.name(shard), layout.header(shard)
    try:
        with file.open("rb") as content:
            begins_well = content.read(len(header)) == header
        return begins_well and file.stat().st_size == layout.file_bytes[shard]
    except OSError:
        return False


def _write_meta(folder: Path, path: Path, text: str) -> None:
    """Put the meta data into a folder, or compare it to what is there."""
    meta = folder / META_NAME
    with disk_errors(path):
        if not meta.exists():
            write_whole(meta, text.encode())
        found = meta.read_text(encoding="utf-8", errors="replace")
    if found != text:
        raise MismatchError(
            f"{meta}: left by an unfinished fill of other images or other shards; delete {folder} and rerun"
        )


def _check_space(path: Path, layout: Layout, shards: Iterable[int]) -> None:
    num_bytes = sum(len(layout.rows(shard)) for shard in shards) * layout.image_bytes
    free = shutil.disk_usage(path.parent).free
    if free < num_bytes:
        raise DataError(
            f"{path.parent}: {num_bytes} bytes needed, {free} free: free space or choose another folder"
        )


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """Make a folder on the same file system as `path`, removed in the end unless it was renamed."""
    # Not tempfile.mkdtemp: its folders are closed to everyone else, also after the renaming.
    temporary = hidden_name(path)
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(partial: Path, path: Path, layout: Layout) -> None:
    if not path.is_dir():
        lost = [shard for shard in range(layout.num_shards) if not _is_whole(partial, layout, shard)]
        if lost and not path.is_dir():
            raise DataError(
                f"{partial / layout.name(lost[0])}: gone or changed while others were written; rerun"
            )
        _rename(partial, path)
        # of killed processes; not before the renaming, which tells a run beside this one why its file is gone
        for leftover in path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


def _rename(temporary: Path, path: Path) -> None:
    with disk_errors(path):
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():  # otherwise another process filled the same key meanwhile: its folder stays
                raise
