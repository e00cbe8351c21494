"""Caches in shards: the same bytes for any number of processes, nothing lost when killed."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data.groups import FORK, ended, start, together
from uibe.data.cache import CacheKey, FeatureCache, fill, fill_shards
from uibe.data.cache_folder import Layout
from uibe.data.indices import pixel_indices
from uibe.errors import ConfigError, DataError, MismatchError

KEY = CacheKey(layer="features.7", dtype="float32")
SHAPE = (13, 3, 2, 5)  # (N, H, W, D)
FEATURES = torch.arange(13.0 * 30).view(13, 5, 3, 2)
PARTIAL = f".{KEY.digest}.partial"

Between = Callable[[range], None]


def nothing(rows: range) -> None:
    """Go on."""


def fill_four(folder: Path, log: Path | None = None, between: Between = nothing) -> FeatureCache:
    """Four shards of 4, 4, 4 and 1 images in batches of 3; the images that are computed are logged."""

    def features_of(parts: Sequence[range]) -> Generator[Tensor]:
        for rows in parts:
            for first in range(rows.start, rows.stop, 3):
                batch = range(first, min(first + 3, rows.stop))
                between(batch)
                if log is not None:
                    with log.open("a") as file:
                        file.write("".join(f"{row}\n" for row in batch))
                yield FEATURES[batch.start : batch.stop]

    return fill_shards(folder, KEY, SHAPE, features_of, images_per_shard=4)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def images_in(log: Path) -> list[int]:
    """The images that were computed."""
    return sorted(map(int, log.read_text().split()))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path, world_size: int) -> None:
    expected = fill_four(tmp_path / "alone")
    log = tmp_path / "log"
    assert together(world_size, tmp_path / "store", lambda: fill_four(tmp_path / "many", log)) == (
        [0] * world_size
    )
    found = contents(tmp_path / "many")
    assert found == contents(tmp_path / "alone")
    assert len(found) == 5
    assert images_in(log) == list(range(13))
    assert expected.features(range(13)).equal(FEATURES)


def test_a_stream_is_cut_into_the_same_bytes(tmp_path: Path) -> None:
    fill_four(tmp_path / "shards")
    fill(tmp_path / "stream", KEY, 13, FEATURES.split(5), images_per_shard=4)
    assert contents(tmp_path / "stream") == contents(tmp_path / "shards")


def test_shards_are_arrays_of_numpy(tmp_path: Path) -> None:
    path = fill_four(tmp_path).path
    arrays = [np.load(path / f"features-0000{shard}.npy") for shard in range(4)]
    np.testing.assert_array_equal(np.concatenate(arrays), FEATURES.permute(0, 2, 3, 1).numpy())


def test_rows_and_pixels_are_read_across_shards(tmp_path: Path) -> None:
    cache = fill_four(tmp_path)
    rows = [12, 3, 4, 5, 0, 3, 11]
    cache.advise(torch.tensor(rows))
    assert cache.features(rows).equal(FEATURES[rows])
    pixels = pixel_indices(rows, cache.feature_size).flip(0)
    assert cache.pixels(pixels).equal(FEATURES.permute(0, 2, 3, 1).reshape(-1, 5)[pixels])


def test_consecutive_rows_of_a_shard_are_one_read(tmp_path: Path) -> None:
    cache = fill_four(tmp_path)
    parts = [
        (file.path.name, inside.tolist())
        for file, _, inside in cache._files.parts(torch.tensor([2, 3, 4, 5, 6]))
    ]
    assert parts == [("features-00000.npy", [2, 3]), ("features-00001.npy", [0, 1, 2])]


def test_killed_process_loses_no_finished_shard(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    def die(rows: range) -> None:
        if rows.start == 7:  # in the midst of the second shard
            os.kill(os.getpid(), signal.SIGKILL)

    assert ended(start(lambda: fill_four(tmp_path / "cache", first, die))) == -signal.SIGKILL
    assert not FeatureCache.exists(tmp_path / "cache", KEY)
    assert images_in(first) == list(range(7))
    fill_four(tmp_path / "cache", second)
    assert images_in(second) == list(range(4, 13))
    fill_four(tmp_path / "alone")
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")  # also: what it left is gone


def test_killed_process_ends_the_others_and_all_go_on_later(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def die(rows: range) -> None:
        if rows.start == 12:  # the last shard, of the last of two processes
            os.kill(os.getpid(), signal.SIGKILL)

    def job() -> None:
        with suppress(RuntimeError):  # of the connection
            fill_four(tmp_path / "cache", None, die)
            raise AssertionError

    assert together(2, tmp_path / "store", job) == [0, -signal.SIGKILL]
    assert not FeatureCache.exists(tmp_path / "cache", KEY)
    assert together(3, tmp_path / "again", lambda: fill_four(tmp_path / "cache", log)) == [0, 0, 0]
    assert images_in(log) == [12]
    assert FeatureCache.open(tmp_path / "cache", KEY).features(range(13)).equal(FEATURES)


@pytest.mark.parametrize("first", [0, 3])
def test_error_in_the_first_shard_leaves_nothing(tmp_path: Path, first: int) -> None:
    def refuse(rows: range) -> None:
        if rows.start == first:
            raise DataError("no such image")

    with pytest.raises(DataError, match="no such image"):
        fill_four(tmp_path, None, refuse)
    assert not list(tmp_path.iterdir())


def test_error_in_one_process_ends_all_and_leaves_only_whole_shards(tmp_path: Path) -> None:
    def refuse(rows: range) -> None:
        if rows.start == 11:
            patience = time.monotonic() + 60
            while not (tmp_path / PARTIAL / "features-00001.npy").is_file() and time.monotonic() < patience:
                time.sleep(0.01)  # the other one's last shard
            raise DataError("no such image")

    def job() -> None:
        with suppress(DataError, RuntimeError):
            fill_four(tmp_path, None, refuse)
            raise AssertionError

    assert together(2, tmp_path / "store", job) == [0, 0]
    left = sorted(path.name for path in (tmp_path / PARTIAL).iterdir())
    assert left == ["features-00000.npy", "features-00001.npy", "meta.json"]
    assert fill_four(tmp_path).features(range(13)).equal(FEATURES)


def test_non_finite_value_is_named_by_its_row_of_all(tmp_path: Path) -> None:
    bad = FEATURES.clone()
    bad[10, 2, 1, 1] = float("nan")

    def features_of(parts: Sequence[range]) -> Generator[Tensor]:
        yield from (bad[rows.start : rows.stop] for rows in parts)

    with pytest.raises(DataError, match="image row 10, channel 2 has the value nan"):
        fill_shards(tmp_path, KEY, SHAPE, features_of, images_per_shard=4)
    assert not (tmp_path / PARTIAL / "features-00002.npy").exists()
    assert (tmp_path / PARTIAL / "features-00001.npy").exists()


@pytest.mark.parametrize("damage", [b"", b"x" * 624, None])
def test_shard_that_is_not_whole_is_computed_again(tmp_path: Path, damage: bytes | None) -> None:
    cache = fill_four(tmp_path)
    expected = contents(tmp_path)
    partial = cache.path.rename(tmp_path / PARTIAL)
    shard = partial / "features-00001.npy"
    assert shard.stat().st_size == 624
    shard.unlink()
    if damage is not None:
        shard.write_bytes(damage)
    fill_four(tmp_path, tmp_path / "log")
    assert images_in(tmp_path / "log") == [4, 5, 6, 7]
    (tmp_path / "log").unlink()
    assert contents(tmp_path) == expected


def test_all_shards_of_a_killed_process_are_published(tmp_path: Path) -> None:
    fill_four(tmp_path).path.rename(tmp_path / PARTIAL)
    assert fill_four(tmp_path, tmp_path / "log").features(range(13)).equal(FEATURES)
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / PARTIAL).exists()


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_shards_of_another_division_are_refused(tmp_path: Path, content: bytes | None) -> None:
    meta = fill_four(tmp_path).path.rename(tmp_path / PARTIAL) / "meta.json"
    if content is not None:
        meta.write_bytes(content)
    with pytest.raises(MismatchError, match=rf"{PARTIAL}/meta\.json: .*; delete \S+{PARTIAL} and rerun"):
        fill_shards(tmp_path, KEY, SHAPE, lambda parts: iter(()), 5 if content is None else 4)  # type: ignore[arg-type, return-value]


def test_finished_cache_is_not_computed_again(tmp_path: Path) -> None:
    fill_four(tmp_path)
    fill_four(tmp_path, tmp_path / "log")
    assert not (tmp_path / "log").exists()
    with pytest.raises(MismatchError, match="holds 13 images, expected 12"):
        fill_shards(tmp_path, KEY, (12, 3, 2, 5), lambda parts: iter(()))  # type: ignore[arg-type, return-value]


def test_two_runs_at_once_both_end_with_the_cache(tmp_path: Path) -> None:
    both = FORK.Barrier(2)
    logs = [tmp_path / "a", tmp_path / "b"]

    def meet(rows: range) -> None:
        both.wait(timeout=30)

    runs = [start(lambda log=log: fill_four(tmp_path / "cache", log, meet)) for log in logs]  # type: ignore[misc]
    assert [ended(pid) for pid in runs] == [0, 0]
    assert [images_in(log) for log in logs] == [list(range(13))] * 2
    fill_four(tmp_path / "alone")
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


@pytest.mark.parametrize("row", [0, 3, 4, 12])
def test_run_that_is_overtaken_takes_the_folder_of_the_other(tmp_path: Path, row: int) -> None:
    fill_four(tmp_path / "alone")

    def be_overtaken(rows: range) -> None:
        if rows.start == row:
            assert ended(start(lambda: fill_four(tmp_path / "cache"))) == 0

    cache = fill_four(tmp_path / "cache", None, be_overtaken)
    assert cache.features(range(13)).equal(FEATURES)
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


def test_groups_that_are_overtaken_end_together(tmp_path: Path) -> None:
    def be_overtaken(rows: range) -> None:
        if rows.start == 8:
            fill(tmp_path / "cache", KEY, 13, [FEATURES], images_per_shard=4)
        elif rows.start == 0:
            while not FeatureCache.exists(tmp_path / "cache", KEY):
                time.sleep(0.01)

    assert together(2, tmp_path / "store", lambda: fill_four(tmp_path / "cache", None, be_overtaken)) == [
        0,
        0,
    ]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [KEY.digest]


def test_partial_folder_that_vanishes_is_an_error(tmp_path: Path) -> None:
    def lose(rows: range) -> None:
        if rows.start == 12:
            (tmp_path / PARTIAL / "features-00000.npy").unlink()

    with pytest.raises(DataError, match=r"features-00000\.npy: gone or changed.*rerun"):
        fill_four(tmp_path, None, lose)


@pytest.mark.parametrize("shard", [0, 2, 3])
def test_shard_that_is_cut_or_missing_is_refused_by_name(tmp_path: Path, shard: int) -> None:
    file = fill_four(tmp_path).path / f"features-0000{shard}.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(MismatchError, match=rf"{file}: \d+ bytes, meta\.json says \d+; delete the folder"):
        FeatureCache.open(tmp_path, KEY)
    file.unlink()
    with pytest.raises(MismatchError, match=rf"{file}: 0 bytes"):
        FeatureCache.open(tmp_path, KEY)


@pytest.mark.parametrize("change", [{"bytes": [1, 2]}, {"images_per_shard": 0}, {"bytes": 7}, {"shape": [1]}])
def test_contradicting_meta_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    meta = fill_four(tmp_path).path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), **change}))
    with pytest.raises(MismatchError, match=r"meta\.json: missing or damaged"):
        FeatureCache.open(tmp_path, KEY)


def test_cache_of_the_first_format_still_opens(tmp_path: Path) -> None:
    folder = tmp_path / KEY.digest
    folder.mkdir()
    np.save(folder / "features.npy", FEATURES.permute(0, 2, 3, 1).numpy())
    size = (folder / "features.npy").stat().st_size
    meta = {"format": 1, "key": dict(KEY), "shape": SHAPE, "bytes": size}
    (folder / "meta.json").write_text(json.dumps(meta))
    cache = fill_four(tmp_path)
    assert cache.features([12, 0]).equal(FEATURES[[12, 0]])
    assert cache.pixels([0, 77]).equal(FEATURES.permute(0, 2, 3, 1).reshape(-1, 5)[[0, 77]])
    (folder / "features.npy").write_bytes(b"")
    with pytest.raises(MismatchError, match=rf"features\.npy: 0 bytes, meta\.json says {size}"):
        FeatureCache.open(tmp_path, KEY)


@pytest.mark.parametrize(
    ("num_images", "size", "expected"),
    [
        (1, 1, 64),
        (64, 1, 64),
        (600, 1, 64),
        (5000, 1, 128),
        (63305, 7, 1024),
        (163305, 56, 1280),
        (9, 20000, 1),
    ],
)
def test_division_depends_on_number_and_size_only(num_images: int, size: int, expected: int) -> None:
    layout = Layout.plan((num_images, size, size, 64), "float32")
    assert layout.images_per_shard == expected
    assert max(layout.file_bytes) <= max(2**30, layout.image_bytes + 132)
    assert [row for shard in range(layout.num_shards) for row in layout.rows(shard)] == list(
        range(num_images)
    )


def test_division_must_be_of_images() -> None:
    with pytest.raises(ConfigError, match="images_per_shard: expected at least 1, got 0"):
        Layout.plan(SHAPE, "float32", 0)


def test_space_that_is_needed_is_that_of_missing_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fill_four(tmp_path).path.rename(tmp_path / PARTIAL)
    (path / "features-00003.npy").unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 10, 90))
    with pytest.raises(DataError, match="120 bytes needed, 90 free"):
        fill_four(tmp_path)
