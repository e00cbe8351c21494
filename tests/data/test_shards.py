"""Shards read back: the same data set as the folder, few requests, damage named."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor

from tests.data.builders import write_broden
from tests.loopback import Loopback, serve
from uibe.data.broden import BrodenDataset, ImageLabels, image_fingerprint, label_fingerprint, verify
from uibe.data.convert import convert
from uibe.data.index import BrodenIndex
from uibe.data.pixels import PixelBatchSampler, RowBatchSampler
from uibe.data.shards import BlockCache, ShardSource, is_sharded
from uibe.data.synthetic import render
from uibe.errors import DataError, MismatchError

BLOCK = 12_000  # bytes, some rows of the set below


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("set") / "s", num_train=40, num_val=11, image_size=32, mask_size=16)


@pytest.fixture(scope="module")
def shards(folder: Path) -> Path:
    return convert(folder, folder.parent / "shards", shard_megabytes=0.04, block_bytes=BLOCK)


@pytest.fixture
def server(shards: Path) -> Iterator[Loopback]:
    with serve(shards) as running:
        yield running


def source_of(url: str, cache_bytes: int = 2**26, retries: int = 3) -> ShardSource:
    return ShardSource(url, retries, cache_bytes, pause=0.001)


def dataset(root: Path | ShardSource, rows: str | None = None) -> BrodenDataset:
    return BrodenDataset(BrodenIndex.read(root), rows, pil_to_tensor)


def same_labels(left: ImageLabels, right: ImageLabels) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


def tar_requests(server: Loopback) -> Counter[tuple[str, str]]:
    return Counter({key: count for key, count in server.gets().items() if key[0].endswith(".tar")})


@pytest.mark.parametrize("place", ["url", "path"])
def test_same_images_labels_and_fingerprints(
    folder: Path, shards: Path, server: Loopback, place: str
) -> None:
    streamed = dataset(source_of(server.url if place == "url" else str(shards)))
    expected = dataset(folder)
    assert streamed.index.rows == expected.index.rows
    for i in range(len(expected)):
        assert torch.equal(streamed[i]["image"], expected[i]["image"])
        assert same_labels(streamed.labels(i), expected.labels(i))
    assert image_fingerprint(streamed.index) == image_fingerprint(expected.index)
    assert label_fingerprint(streamed.index) == label_fingerprint(expected.index)


@pytest.mark.parametrize("categories", [["object"], ["scene", "part"]])
def test_selected_categories_have_the_same_fingerprint(
    folder: Path, shards: Path, categories: list[str]
) -> None:
    streamed, expected = (BrodenIndex.read(root, categories) for root in (source_of(str(shards)), folder))
    assert label_fingerprint(streamed) == label_fingerprint(expected)
    assert image_fingerprint(streamed) == image_fingerprint(expected)


def test_damaged_rows_are_those_that_verify_skips(tmp_path: Path) -> None:
    root = write_broden(tmp_path / "broden")
    (root / "images/a/1.png").write_bytes(b"none")
    expected, _ = verify(BrodenIndex.read(root), "skip")
    streamed = BrodenIndex.read(source_of(str(convert(root, tmp_path / "out", damaged="skip"))))
    assert streamed.rows == expected.rows
    assert image_fingerprint(streamed) == image_fingerprint(expected)
    assert label_fingerprint(streamed) == label_fingerprint(expected)


def test_shared_masks(tmp_path: Path) -> None:
    root = write_broden(tmp_path / "broden")
    streamed, expected = dataset(source_of(str(convert(root, tmp_path / "out")))), dataset(root)
    assert all(same_labels(streamed.labels(i), expected.labels(i)) for i in range(4))


def test_epoch_in_order_asks_for_each_block_once(server: Loopback) -> None:
    data = dataset(source_of(server.url, cache_bytes=0), "train")  # two blocks are kept
    for i in range(len(data)):
        data[i]
    blocks = [block for block in data.index.source.contents.blocks if block.shard.startswith("train")]  # type: ignore[attr-defined]
    assert len(blocks) > 5
    assert len({block.shard for block in blocks}) > 1
    assert tar_requests(server) == Counter(
        (block.shard, f"bytes={block.start}-{block.end - 1}") for block in blocks
    )


def test_shuffled_pass_asks_for_each_block_once(server: Loopback) -> None:
    source = source_of(server.url, cache_bytes=4 * 2 * BLOCK)
    data = dataset(source, "train")
    windows = data.windows(data.rows)
    assert windows is not None
    assert windows.num_windows > 1
    positions = torch.cat(list(PixelBatchSampler(len(data), 4, windows=windows)))
    assert sorted(positions.tolist()) == list(range(40)) != positions.tolist()
    for position in positions.tolist():
        data.image(position)
    assert set(tar_requests(server).values()) == {1}
    assert len(tar_requests(server)) == windows.num_blocks


def test_threads_share_a_block(server: Loopback) -> None:
    server.decide = lambda name, wanted: time.sleep(0.05)
    data = dataset(source_of(server.url))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(data.labels, [0, 1, 0, 1, 0, 1, 0, 1]))
    assert set(tar_requests(server).values()) == {1}


def test_cache_is_bounded_and_keeps_what_was_used_last() -> None:
    fetched: list[int] = []
    cache = BlockCache(lambda number: fetched.append(number) or bytes(number), 2)
    for number in (1, 2, 1, 3, 1, 2):
        assert len(cache.get(number)) == number
        assert len(cache._blocks) <= 2
    assert fetched == [1, 2, 3, 2]


def test_failure_is_told_to_all_that_wait_and_then_forgotten() -> None:
    begun, go = threading.Event(), threading.Event()
    answers: list[Exception | None] = [DataError("gone"), None]

    def fetch(number: int) -> bytes:
        begun.set()
        go.wait(10)
        if (answer := answers.pop(0)) is not None:
            raise answer
        return b"x"

    cache = BlockCache(fetch, 2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, 1)
        begun.wait(10)
        second = pool.submit(cache.get, 1)
        time.sleep(0.05)
        go.set()
        for waiting in (first, second):
            with pytest.raises(DataError, match="gone"):
                waiting.result()
    assert cache.get(1) == b"x"


def test_injected_failures_change_nothing(folder: Path, server: Loopback) -> None:
    kinds = itertools.cycle(["503", None, "cut", None, "short", None, "corrupt", None, None])
    server.decide = lambda name, wanted: next(kinds)
    streamed, expected = dataset(source_of(server.url, cache_bytes=0, retries=5)), dataset(folder)
    for i in range(len(expected)):
        assert torch.equal(streamed[i]["image"], expected[i]["image"])
        assert same_labels(streamed.labels(i), expected.labels(i))


def test_damage_is_read_twice_then_named(server: Loopback) -> None:
    data = dataset(source_of(server.url))
    server.always["train-00000.tar"] = "corrupt"
    with pytest.raises(
        DataError, match=r"train-00000\.tar: images/.*\.jpg: its CRC-32 .* twice; the shard is"
    ):
        data.image(0)
    assert set(tar_requests(server).values()) == {2}
    server.always.clear()
    assert data.image(0).size == (32, 32)
    server.always["label.csv"] = "corrupt"
    with pytest.raises(DataError, match=r"label\.csv: its SHA-256"):
        dataset(source_of(server.url))


class _Rows(Dataset[list[int]]):
    """The rows of each batch, after their images came through."""

    def __init__(self, data: BrodenDataset) -> None:
        self.data = data

    def __getitem__(self, positions: list[int] | Tensor) -> list[int]:
        return [self.data[int(position)]["row"] for position in positions]


@pytest.mark.parametrize("sampler", ["rows", "shuffled"])
def test_every_row_once_over_ranks_and_workers(server: Loopback, sampler: str) -> None:
    server.decide = lambda name, wanted: "503" if len(server.requests) % 7 == 0 else None
    data = dataset(source_of(server.url, cache_bytes=0, retries=9))
    data.image(0)  # the parent's event loop runs when workers are forked
    found: list[int] = []
    for rank in range(3):
        order: Any = (
            RowBatchSampler(range(51), 4, num_replicas=3, rank=rank)
            if sampler == "rows"
            else PixelBatchSampler(51, 3, windows=data.windows(range(51)), num_replicas=3, rank=rank)
        )
        loader = DataLoader(_Rows(data), None, sampler=order, num_workers=2, timeout=60)
        found += [row for batch in loader for row in batch]
    assert sorted(found) == list(range(51))


def test_missing_shard_is_one_line(server: Loopback) -> None:
    data = dataset(source_of(server.url))
    server.always["train-00000.tar"] = "404"
    with pytest.raises(DataError, match=r"train-00000\.tar: bytes \d+ to \d+: no such file"):
        data.image(0)


def test_folder_without_shards_is_explained(folder: Path, shards: Path) -> None:
    assert is_sharded(str(shards))
    assert is_sharded("http://127.0.0.1/x")
    assert not is_sharded(str(folder))
    with pytest.raises(DataError, match=r"shards\.json: all bytes: no such file.*uibe\.data\.convert"):
        source_of(str(folder))


def test_unknown_file(shards: Path) -> None:
    for ask in (source_of(str(shards)).read, source_of(str(shards)).digest):
        with pytest.raises(DataError, match=r"images/none\.jpg: not in shards\.json"):
            ask("images/none.jpg")


def changed(shards: Path, copy: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """A folder with nothing but a changed shards.json."""
    record = json.loads((shards / "shards.json").read_text())
    change(record)
    copy.mkdir()
    (copy / "shards.json").write_text(json.dumps(record))
    return str(copy)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no members": lambda record: record.pop("members"),
    "column of text": lambda record: record["members"].update(size=["1"] * len(record["members"]["size"])),
    "negative offset": lambda record: record["members"]["offset"].__setitem__(0, -1),
    "short column": lambda record: record["members"]["crc32"].pop(),
    "fractions": lambda record: record["members"]["size"].__setitem__(0, 1.5),
    "out of order": lambda record: record["members"]["offset"].reverse(),
    "beyond the shard": lambda record: record["shards"][-1].update(size=100),
    "fewer blocks": lambda record: record["shards"][0]["blocks"].pop(),
    "no blocks": lambda record: record.update(shards=[]),
    "rows per block": lambda record: record.update(rows_per_block=0),
    "no csv": lambda record: record["files"].pop("index.csv"),
    "shard outside": lambda record: record["shards"][0].update(name="../other.tar"),
    "shard elsewhere": lambda record: record["shards"][0].update(name="http://other/x.tar"),
    "absolute member": lambda record: record["members"]["name"].__setitem__(0, "/etc/passwd"),
    "member on a drive": lambda record: record["members"]["name"].__setitem__(0, "C:\\x"),
    "member outside": lambda record: record["members"]["name"].__setitem__(0, "images/../../x"),
    "no text": lambda record: record["members"]["name"].__setitem__(0, 7),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_index_is_one_error(shards: Path, tmp_path: Path, damage: str) -> None:
    root = changed(shards, tmp_path / "copy", DAMAGES[damage])
    with pytest.raises(DataError, match=r"shards\.json: damaged .*convert the data set again") as caught:
        source_of(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_garbage_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shards.json").write_bytes(content)
    with pytest.raises(DataError, match=r"shards\.json: damaged"):
        source_of(str(tmp_path))


def test_truncated_index_at_any_place(shards: Path, tmp_path: Path) -> None:
    content = (shards / "shards.json").read_bytes()
    for end in range(0, len(content) - 2, len(content) // 40):
        (tmp_path / "shards.json").write_bytes(content[:end])
        with pytest.raises(DataError, match="damaged"):
            source_of(str(tmp_path))


def test_other_format_is_a_mismatch(shards: Path, tmp_path: Path) -> None:
    root = changed(shards, tmp_path / "copy", lambda record: record.update(format=2))
    with pytest.raises(MismatchError, match="format 2; this code reads 1"):
        source_of(root)
