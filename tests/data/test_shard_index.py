"""`shards.json`: what was edited or damaged in it is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data.builders import write_broden
from uibe.data.convert import convert
from uibe.data.shard_index import ShardIndex, sealed
from uibe.errors import DataError

Record = dict[str, Any]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    content: Record = json.loads(
        (convert(write_broden(tmp_path / "set"), tmp_path / "out") / "shards.json").read_text()
    )
    return content


def parsed(record: Record) -> ShardIndex:
    return ShardIndex.parse(json.dumps(record).encode(), "shards.json")


def _skipped(record: Record) -> None:
    record["skipped"] = [3]


def _names(record: Record) -> None:
    names = record["members"]["name"]
    names[0], names[-1] = names[-1], names[0]


def _block(record: Record) -> None:
    record["rows_per_block"] += 1


@pytest.mark.parametrize("change", [_skipped, _names, _block])
def test_edits_that_fit_are_found_by_the_checksum(record: Record, change: Callable[[Record], None]) -> None:
    parsed(record)
    change(record)
    with pytest.raises(DataError, match=r"shards\.json: damaged .*SHA-256"):
        parsed(record)


def test_shards_of_before_the_checksum_are_read(record: Record) -> None:
    expected = parsed(record).numbers
    del record["sha256"]
    assert parsed(record).numbers == expected
    assert sealed(sealed(record)) == sealed(record)


def test_name_with_a_line_feed_is_refused_in_one_line(record: Record) -> None:
    record["shards"][0]["name"] = "a\n.tar"
    with pytest.raises(DataError, match=r"^shards\.json: damaged .*'a\\n\.tar'"):
        parsed(sealed(record))
